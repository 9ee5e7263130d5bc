// A text file of the system, line by line; a line that is too long is left out.
#pragma once
#include <stddef.h>

struct lines {
  int fd, cut;
  size_t at, end;
  char text[4096];
};
int lines_open(struct lines *l, const char *path); // whether it is there
void lines_from(struct lines *l, int fd);
char *lines_next(struct lines *l);                 // until the next call; 0 at the end
void lines_close(struct lines *l);

// A number at *at, which is then behind it. @returns -1, and *at as it was, when there is none
long parse_number(const char **at, int base);
// What stands before the mark, ended there. @returns what stands behind it, 0 without one
char *cut_at(char *text, char mark);
// The texts up to a null pointer, one behind the other. @returns 0 when they do not fit
int concat(char *into, size_t size, ...);
