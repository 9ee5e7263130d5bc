/*
 * Streams between a guest and its host, timed in the guest.
 *   vsock serve PATH             the host's end on sockets PATH_PORT, where a monitor without vhost brings the guest's connections
 *   vsock serve                  the same on the host's own AF_VSOCK, which is vhost's way
 *   vsock out MS | in MS         prints "N bytes in M us": what arrived at the host, or came from it
 *   vsock turns MS               prints "N turns in M us": a byte there and a byte back, on one connection
 *   vsock connections MS         prints "N connections in M us": connect, a byte there, a byte back, close
 * Before the last two 1500 turns are made that do not count, or as many as ten seconds allow: for a monitor whose JavaScript must be
 * compiled first. How many turns that takes was not measured.
 * Whoever serves a port does as `serve_one` does.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>
#include "timing.h"

enum { SINK = 7000, SOURCE, ECHO, END };

static char buffer[65536];

static int vsock(unsigned port, unsigned cid, int (*use)(int, const struct sockaddr *, socklen_t))
{
  struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0 || use(fd, (struct sockaddr *)&address, sizeof address) < 0) die("vsock");
  return fd;
}

static int listener(unsigned port, const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd;
  if (path) {
    snprintf(address.sun_path, sizeof address.sun_path, "%s_%u", path, port);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
  } else {
    fd = vsock(port, VMADDR_CID_ANY, bind);
  }
  if (listen(fd, 128) < 0) die("listen");
  return fd;
}

/* The sink says at the end how many bytes came; the source goes on until nobody reads. */
static void serve_one(unsigned port, int peer)
{
  uint64_t total = 0;
  ssize_t count;
  if (port == SOURCE) {
    while (write(peer, buffer, sizeof buffer) > 0) {}
    return;
  }
  while ((count = read(peer, buffer, sizeof buffer)) > 0) {
    if (port == ECHO && write(peer, buffer, count) != count) return;
    total += count;
  }
  if (port == SINK && write(peer, &total, sizeof total) != sizeof total) perror("write");
}

/* A process for each port, which is enough: every port has one client at a time. */
static void serve(const char *path)
{
  for (unsigned port = SINK; port < END; port++) {
    int fd = listener(port, path);
    if (fork() != 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
      int peer = accept(fd, 0, 0);
      if (peer < 0) continue;
      serve_one(port, peer);
      close(peer);
    }
  }
  printf("serving\n");
  fflush(stdout);
  pause();
}

/* A host that does not answer ends the measurement with an error, not with a hang. */
static int dial(unsigned port)
{
  struct timeval limit = { .tv_sec = 20 };
  int fd = vsock(port, VMADDR_CID_HOST, connect);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  return fd;
}

static void turn(int fd)
{
  char byte = 'x';
  if (write(fd, &byte, 1) != 1) die("write");
  if (read(fd, &byte, 1) != 1) die("read");
}

static void warm_up(int fd)
{
  long long start = now_us();
  for (int count = 0; count < 1500 && now_us() - start < 10 * 1000000LL; count++) turn(fd);
}

int main(int argc, char **argv)
{
  signal(SIGPIPE, SIG_IGN);
  if (argc >= 2 && !strcmp(argv[1], "serve")) serve(argv[2]);
  if (argc != 3) return 2;
  const char *job = argv[1];
  long long limit = atoll(argv[2]) * 1000;
  uint64_t count = 0;
  ssize_t bytes;
  int fd = !strcmp(job, "connections") ? -1 : dial(!strcmp(job, "out") ? SINK : !strcmp(job, "in") ? SOURCE : ECHO);
  if (!strcmp(job, "turns")) warm_up(fd);
  if (!strcmp(job, "connections")) {
    int one = dial(ECHO);
    warm_up(one);
    close(one);
  }
  long long start = now_us();
  do {
    if (!strcmp(job, "out")) {
      if ((bytes = write(fd, buffer, sizeof buffer)) <= 0) die("write");
      count += bytes;
    } else if (!strcmp(job, "in")) {
      if ((bytes = read(fd, buffer, sizeof buffer)) <= 0) die("read");
      count += bytes;
    } else if (!strcmp(job, "turns")) {
      turn(fd);
      count++;
    } else if (!strcmp(job, "connections")) {
      int one = dial(ECHO);
      turn(one);
      close(one);
      count++;
    } else return 2;
  } while (now_us() - start < limit);
  if (!strcmp(job, "out")) {
    uint64_t arrived;
    if (shutdown(fd, SHUT_WR) < 0) die("shutdown");
    if (read(fd, &arrived, sizeof arrived) != sizeof arrived) die("read");
    if (arrived != count) return 1;
  }
  const char *what = !strcmp(job, "turns") ? "turns" : !strcmp(job, "connections") ? "connections" : "bytes";
  printf("%llu %s in %lld us\n", (unsigned long long)count, what, now_us() - start);
  return 0;
}
