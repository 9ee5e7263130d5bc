#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include "lines.h"

void lines_from(struct lines *l, int fd) {
  l->fd = fd;
  l->at = l->end = l->cut = 0;
}

int lines_open(struct lines *l, const char *path) {
  lines_from(l, open(path, O_RDONLY | O_CLOEXEC));
  return l->fd >= 0;
}

void lines_close(struct lines *l) { close(l->fd); }

char *lines_next(struct lines *l) {
  for (;;) {
    char *line = l->text + l->at, *newline = memchr(line, '\n', l->end - l->at);
    if (newline) {
      int cut = l->cut;
      *newline = 0;
      l->at = newline + 1 - l->text;
      l->cut = 0;
      if (cut) continue;
      return line;
    }
    memmove(l->text, line, l->end -= l->at);
    l->at = 0;
    if (l->end == sizeof l->text) {
      l->cut = 1;
      l->end = 0;
    }
    ssize_t count;
    do count = read(l->fd, l->text + l->end, sizeof l->text - l->end);
    while (count < 0 && errno == EINTR);
    if (count > 0) l->end += count;
    else if (l->end == 0 || l->end == sizeof l->text || l->cut) return 0;
    else l->text[l->end++] = '\n'; // the last one has none
  }
}

long parse_number(const char **at, int base) {
  const char *p = *at;
  long value = 0;
  for (;; p++) {
    int digit = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'A' && *p <= 'F' ? *p - 'A' + 10 : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : 99;
    if (digit >= base || value >> 40) break; // nothing that is counted here is as large
    value = value * base + digit;
  }
  if (p == *at) return -1;
  *at = p;
  return value;
}

char *cut_at(char *text, char mark) {
  char *at = strchr(text, mark);
  if (!at) return 0;
  *at = 0;
  return at + 1;
}

int concat(char *into, size_t size, ...) {
  va_list texts;
  size_t length = 0;
  const char *text;
  va_start(texts, size);
  while ((text = va_arg(texts, const char *))) {
    size_t more = strlen(text);
    if (more >= size - length) break;
    memcpy(into + length, text, more);
    length += more;
  }
  va_end(texts);
  into[length] = 0;
  return !text;
}
