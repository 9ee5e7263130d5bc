// System calls by the kernel's convention: a number and six words, an errno below zero.
#pragma once

long result_of_call(long value); // sets errno

static inline long raw_call(long number, long a, long b, long c, long d, long e, long f) {
  register long fourth __asm__("r10") = d;
  register long fifth __asm__("r8") = e;
  register long sixth __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "+a"(number)
                   : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                   : "rcx", "r11", "memory");
  return number;
}

#define CALL_(number, a, b, c, d, e, f, ...) result_of_call(raw_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f)))
#define CALL(name, ...) CALL_(SYS_##name, __VA_ARGS__ __VA_OPT__(,) 0, 0, 0, 0, 0, 0)
