/*
 * Linked into an agent that gets random requests on this host: what they could do to it, they do to nothing. Programs are always cat,
 * connections lead to the port in HARMLESS_PORT. With -Wl,--wrap for each of these.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int __real_open(const char *path, int flags, ...);
int __real_connect(int fd, const struct sockaddr *to, socklen_t length);
int __real_execvp(const char *file, char *const *argv);
int __real_kill(pid_t pid, int number);

int __wrap_open(const char *path, int flags, ...) {
  int writes = (flags & O_ACCMODE) != O_RDONLY;
  return __real_open(writes && strcmp(path, "/dev/ptmx") ? "/dev/null" : path, flags & ~(O_CREAT | O_TRUNC));
}
static int refuse(void) {
  errno = EPERM;
  return -1;
}
int __wrap_mkdir(const char *path, mode_t mode) { return (void)path, (void)mode, refuse(); }
int __wrap_rmdir(const char *path) { return (void)path, refuse(); }
int __wrap_unlink(const char *path) { return (void)path, refuse(); }
int __wrap_rename(const char *from, const char *to) { return (void)from, (void)to, refuse(); }
int __wrap_clock_settime(clockid_t clock, const struct timespec *time) { return (void)clock, (void)time, refuse(); }
int __wrap_mount(const char *what, const char *where, const char *type, unsigned long flags, const void *options) {
  return (void)what, (void)where, (void)type, (void)flags, (void)options, refuse();
}
int __wrap_reboot(int how) { return (void)how, refuse(); }
void __wrap_sync(void) {}
int __wrap_execvp(const char *file, char *const *argv) {
  static char *const cat[] = {"cat", 0};
  if (!strcmp(argv[0], "poweroff")) return refuse();
  return (void)file, __real_execvp("cat", cat);
}
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t length) {
  struct sockaddr_in there = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  there.sin_port = htons(atoi(getenv("HARMLESS_PORT")));
  if (to->sa_family != AF_INET) return (void)length, refuse();
  return __real_connect(fd, (struct sockaddr *)&there, sizeof there);
}
/* Each message in memory of its own, so that a sanitizer sees what is read beyond its end. */
struct session;
struct reader {
  const char *at, *end;
  int bad;
};
void __real_message(struct session *s, int type, struct reader *r);
void __wrap_message(struct session *s, int type, struct reader *r) {
  size_t size = r->end - r->at;
  char *copy = malloc(size ? size : 1);
  if (!copy) abort();
  memcpy(copy, r->at, size);
  struct reader own = {copy, copy + size, 0};
  __real_message(s, type, &own);
  free(copy);
}
/* An agent that signals all processes, or its own group, is wrong. */
int __wrap_kill(pid_t pid, int number) {
  if (pid == 0 || pid == -1 || pid == 1) abort();
  return __real_kill(pid, number);
}
