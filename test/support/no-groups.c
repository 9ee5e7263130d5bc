/* Linked into an agent with -Wl,--wrap=mkdirat: a kernel without control groups, as far as it can tell. */
#include <errno.h>
#include <sys/stat.h>

int __wrap_mkdirat(int folder, const char *path, mode_t mode) {
  (void)folder, (void)path, (void)mode;
  errno = ENOENT;
  return -1;
}
