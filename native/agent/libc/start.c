// The little of a C library that the agent needs, on x86-64 Linux: with it any C compiler makes a static program of some 30 KB, where one
// with the system's library has 900 and more, if that is there as a static one at all. Declarations are the system's headers'.
// This file: from the kernel to main, and what is no plain system call.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "syscall.h"

char **environ;
static int error_number;
int *__errno_location(void) { return &error_number; }

int main(int argc, char **argv);

__attribute__((used, noreturn)) void start_main(long *stack) {
  char **argv = (char **)(stack + 1);
  environ = argv + stack[0] + 1;
  _exit(main(stack[0], argv));
}

// The kernel leaves argc, argv and the environment on the stack (System V ABI, AMD64 §3.4.1).
__asm__(".globl _start\n"
        "_start:\n"
        "  xor %ebp, %ebp\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call start_main\n");

// The child returns first, on the same stack: the address to return to is kept in a register.
__asm__(".globl vfork\n"
        "vfork:\n"
        "  pop %rdx\n"
        "  mov $58, %eax\n"
        "  syscall\n"
        "  push %rdx\n"
        "  mov %rax, %rdi\n"
        "  jmp result_of_call\n");

__attribute__((used)) long result_of_call(long value) {
  if (value > -4096 && value < 0) {
    errno = -value;
    return -1;
  }
  return value;
}

// The kernel's struct sigaction; its sets have 64 bits, those of the headers begin with them.
struct kernel_action {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};

// For SIG_IGN and SIG_DFL: a handler would need a way back.
void (*signal(int number, void (*handler)(int)))(int) {
  struct kernel_action action = {.handler = handler}, before;
  return CALL(rt_sigaction, number, &action, &before, 8) ? SIG_ERR : before.handler;
}

int sigemptyset(sigset_t *set) {
  memset(set, 0, sizeof *set);
  return 0;
}

int sigaddset(sigset_t *set, int number) {
  *(unsigned long *)set |= 1ul << (number - 1);
  return 0;
}

static int try_exec(const char *path, char *const *argv) {
  execve(path, argv, environ);
  if (errno != ENOEXEC) return -1;
  // A script that does not say whose.
  size_t count = 0;
  while (argv[count]) count++;
  char *words[count + 2];
  words[0] = "/bin/sh";
  words[1] = (char *)path;
  for (size_t i = 1; i <= count; i++) words[i + 1] = argv[i];
  return execve(words[0], words, environ);
}

int execvp(const char *file, char *const *argv) {
  const char *path = "/usr/sbin:/usr/bin:/sbin:/bin";
  char full[4096];
  int refused = 0;
  size_t length = strlen(file);
  if (!length) errno = ENOENT;
  if (!length || strchr(file, '/')) return length ? try_exec(file, argv) : -1;
  for (char **variable = environ; *variable; variable++)
    if (!strncmp(*variable, "PATH=", 5)) path = *variable + 5;
  for (const char *end; path; path = *end ? end + 1 : 0) {
    end = strchr(path, ':');
    if (!end) end = path + strlen(path);
    size_t folder = end - path;
    if (folder + length + 2 > sizeof full) continue;
    memcpy(full, path, folder);
    if (folder) full[folder++] = '/';
    memcpy(full + folder, file, length + 1);
    try_exec(full, argv);
    if (errno == EACCES) refused = 1;
    else if (errno != ENOENT && errno != ENOTDIR) return -1;
  }
  errno = refused ? EACCES : ENOENT;
  return -1;
}
