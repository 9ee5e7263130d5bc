// Bytes, strings, and blocks of memory. A compiler may call the first four by itself.
#include <dirent.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  void *start = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return start;
}

void *memmove(void *to, const void *from, size_t size) {
  if ((size_t)((char *)to - (const char *)from) >= size) return memcpy(to, from, size);
  char *last = (char *)to + size - 1;
  const char *source = (const char *)from + size - 1;
  __asm__ volatile("std; rep movsb; cld" : "+D"(last), "+S"(source), "+c"(size) : : "memory");
  return to;
}

void *memset(void *to, int value, size_t size) {
  void *start = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return start;
}

int memcmp(const void *one, const void *other, size_t size) {
  const unsigned char *a = one, *b = other;
  for (; size; size--, a++, b++)
    if (*a != *b) return *a - *b;
  return 0;
}

void *memchr(const void *bytes, int value, size_t size) {
  for (const unsigned char *at = bytes; size; size--, at++)
    if (*at == (unsigned char)value) return (void *)at;
  return 0;
}

size_t strlen(const char *text) {
  const char *end = text;
  while (*end) end++;
  return end - text;
}

char *strcpy(char *restrict to, const char *restrict from) { return memcpy(to, from, strlen(from) + 1); }

int strncmp(const char *one, const char *other, size_t size) {
  for (; size; size--, one++, other++)
    if (*one != *other || !*one) return (unsigned char)*one - (unsigned char)*other;
  return 0;
}

int strcmp(const char *one, const char *other) { return strncmp(one, other, (size_t)-1); }

char *strchr(const char *text, int value) {
  for (;; text++) {
    if (*text == (char)value) return (char *)text;
    if (!*text) return 0;
  }
}

char *strrchr(const char *text, int value) {
  const char *found = 0;
  for (;; text++) {
    if (*text == (char)value) found = text;
    if (!*text) return (char *)found;
  }
}

// A block is a mapping of a power of two bytes, and knows which. A few of each size are kept for who comes next.
enum { LEAST = 12, CLASSES = 16, KEPT = 8 };
union block {
  struct {
    union block *next;
    size_t class;
  };
  max_align_t aligned;
};
static union block *kept[CLASSES];
static int kept_count[CLASSES];

void *malloc(size_t size) {
  size_t class = 0;
  while (class < CLASSES && size > (1ul << (LEAST + class)) - sizeof(union block)) class++;
  if (class == CLASSES) return 0;
  union block *block = kept[class];
  if (block) {
    kept[class] = block->next;
    kept_count[class]--;
  } else {
    block = mmap(0, 1ul << (LEAST + class), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return 0;
    block->class = class;
  }
  return block + 1;
}

void free(void *memory) {
  if (!memory) return;
  union block *block = (union block *)memory - 1;
  size_t class = block->class;
  if (kept_count[class] == KEPT) {
    munmap(block, 1ul << (LEAST + class));
    return;
  }
  block->next = kept[class];
  kept[class] = block;
  kept_count[class]++;
}

void *calloc(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return 0;
  void *memory = malloc(bytes);
  return memory ? memset(memory, 0, bytes) : 0;
}
