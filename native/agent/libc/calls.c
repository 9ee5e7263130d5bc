// System calls under the names that C programs know; the kernel's structures are the headers' on x86-64.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "syscall.h"

// What comes behind `last`, if anything does: passed on as the words it is.
#define WORDS(last) \
  va_list words; \
  va_start(words, last); \
  long a = va_arg(words, long), b = va_arg(words, long), c = va_arg(words, long), d = va_arg(words, long), \
       e = va_arg(words, long), f = va_arg(words, long); \
  va_end(words); \
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f

long syscall(long number, ...) {
  WORDS(number);
  return result_of_call(raw_call(number, a, b, c, d, e, f));
}
int open(const char *path, int flags, ...) {
  WORDS(flags);
  return CALL(open, path, flags, a);
}
int openat(int folder, const char *path, int flags, ...) {
  WORDS(flags);
  return CALL(openat, folder, path, flags, a);
}
int fcntl(int fd, int command, ...) {
  WORDS(command);
  return CALL(fcntl, fd, command, a);
}
#ifdef __GLIBC__
typedef unsigned long request_number;
#else // musl
typedef int request_number;
#endif
int ioctl(int fd, request_number request, ...) {
  WORDS(request);
  return CALL(ioctl, fd, request, a);
}
int prctl(int option, ...) {
  WORDS(option);
  return CALL(prctl, option, a, b, c, d);
}

void _exit(int code) {
  for (;;) CALL(exit_group, code);
}
ssize_t read(int fd, void *into, size_t size) { return CALL(read, fd, into, size); }
ssize_t write(int fd, const void *from, size_t size) { return CALL(write, fd, from, size); }
int close(int fd) { return CALL(close, fd); }
int dup2(int from, int to) { return CALL(dup2, from, to); }
int pipe2(int ends[2], int flags) { return CALL(pipe2, ends, flags); }
int poll(struct pollfd *fds, nfds_t count, int ms) { return CALL(poll, fds, count, ms); }
void *mmap(void *at, size_t size, int access, int flags, int fd, off_t offset) {
  return (void *)CALL(mmap, at, size, access, flags, fd, offset);
}
int munmap(void *at, size_t size) { return CALL(munmap, at, size); }

int access(const char *path, int mode) { return CALL(access, path, mode); }
int faccessat(int folder, const char *path, int mode, int flags) {
  if (flags) { // which the system call does not have
    errno = EINVAL;
    return -1;
  }
  return CALL(faccessat, folder, path, mode);
}
int stat(const char *path, struct stat *into) { return CALL(stat, path, into); }
int lstat(const char *path, struct stat *into) { return CALL(lstat, path, into); }
int fstat(int fd, struct stat *into) { return CALL(fstat, fd, into); }
int fstatfs(int fd, struct statfs *into) { return CALL(fstatfs, fd, into); }
int mkdir(const char *path, mode_t mode) { return CALL(mkdir, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return CALL(mkdirat, folder, path, mode); }
int rmdir(const char *path) { return CALL(rmdir, path); }
int unlink(const char *path) { return CALL(unlink, path); }
int unlinkat(int folder, const char *path, int flags) { return CALL(unlinkat, folder, path, flags); }
int rename(const char *from, const char *to) { return CALL(rename, from, to); }
int chdir(const char *path) { return CALL(chdir, path); }
int chroot(const char *path) { return CALL(chroot, path); }
int mount(const char *what, const char *where, const char *type, unsigned long flags, const void *options) {
  return CALL(mount, what, where, type, flags, options);
}
void sync(void) { CALL(sync); }

int socket(int family, int type, int protocol) { return CALL(socket, family, type, protocol); }
int bind(int fd, const struct sockaddr *at, socklen_t length) { return CALL(bind, fd, at, length); }
int listen(int fd, int most) { return CALL(listen, fd, most); }
int accept4(int fd, struct sockaddr *from, socklen_t *length, int flags) {
  return CALL(accept4, fd, from, length, flags);
}
int connect(int fd, const struct sockaddr *to, socklen_t length) { return CALL(connect, fd, to, length); }
ssize_t send(int fd, const void *from, size_t size, int flags) { return CALL(sendto, fd, from, size, flags); }
int shutdown(int fd, int how) { return CALL(shutdown, fd, how); }
int getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
  return CALL(getsockopt, fd, level, name, value, length);
}
int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
  return CALL(setsockopt, fd, level, name, value, length);
}

pid_t getpid(void) { return CALL(getpid); }
pid_t setsid(void) { return CALL(setsid); }
int setgid(gid_t gid) { return CALL(setgid, gid); }
int setuid(uid_t uid) { return CALL(setuid, uid); }
int setgroups(size_t count, const gid_t *groups) { return CALL(setgroups, count, groups); }
int execve(const char *path, char *const *argv, char *const *envp) { return CALL(execve, path, argv, envp); }
pid_t waitpid(pid_t pid, int *status, int flags) { return CALL(wait4, pid, status, flags); }
int kill(pid_t pid, int number) { return CALL(kill, pid, number); }
int pause(void) { return CALL(pause); }
int reboot(int how) { return CALL(reboot, 0xfee1dead, 672274793, how); }
int sigprocmask(int how, const sigset_t *set, sigset_t *before) { return CALL(rt_sigprocmask, how, set, before, 8); }
int signalfd(int fd, const sigset_t *set, int flags) { return CALL(signalfd4, fd, set, 8, flags); }

int clock_gettime(clockid_t clock, struct timespec *into) { return CALL(clock_gettime, clock, into); }
int clock_settime(clockid_t clock, const struct timespec *time) { return CALL(clock_settime, clock, time); }
int usleep(useconds_t us) {
  struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
  return CALL(nanosleep, &time, 0);
}
