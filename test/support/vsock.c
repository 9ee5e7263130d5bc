// A guest's end of sockets, for system tests.
//   vsock connect PORT         connects to the host: standard input goes there, what comes back to standard output
//   vsock echo PORT COUNT      takes COUNT connections, any number at once, and sends back what each sends
//   vsock sink PORT SECONDS    takes one connection, waits before it reads, and says how many bytes it got
//   vsock refused PORT COUNT   exits with 0 if the host refuses COUNT connections
//   vsock short PORT COUNT     COUNT connections one after the other: a byte there, the same byte back
//   vsock hold PORT COUNT      opens COUNT connections, says how many were taken, and keeps them until it is told something
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static char buffer[65536];

static void fail(const char *what) {
  printf("FAIL: vsock: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int dial(unsigned port) {
  struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port};
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) fail("socket");
  if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
    close(fd);
    return -1;
  }
  return fd;
}

static int listener(unsigned port) {
  struct sockaddr_vm at = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 128)) fail("listen");
  printf("listening\n");
  fflush(stdout);
  return fd;
}

static void put(int fd, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t count = write(fd, buffer + done, length - done);
    if (count < 0) fail("write");
    done += count;
  }
}

static int copy(int from, int to) {
  ssize_t count = read(from, buffer, sizeof buffer);
  if (count < 0) fail("read");
  put(to, count);
  return count > 0;
}

static void both_ways(int fd) {
  struct pollfd fds[] = {{.fd = 0, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
  for (;;) {
    if (poll(fds, 2, -1) < 0) fail("poll");
    if (fds[1].revents && !copy(fd, 1)) return;
    if (fds[0].revents && !copy(0, fd)) {
      fds[0].fd = -1;
      if (shutdown(fd, SHUT_WR)) fail("shutdown");
    }
  }
}

static void once(unsigned port, char byte) {
  char back = 0;
  int fd = dial(port);
  if (fd < 0) fail("connect");
  if (write(fd, &byte, 1) != 1 || read(fd, &back, 1) != 1 || back != byte) fail("echo");
  close(fd);
}

static void hold(unsigned port, int number) {
  struct rlimit files = {.rlim_cur = number + 64, .rlim_max = number + 64};
  int taken = 0;
  if (setrlimit(RLIMIT_NOFILE, &files)) fail("setrlimit");
  for (int count = 0; count < number; count++) taken += dial(port) >= 0;
  printf("holds %d\n", taken);
  fflush(stdout);
  if (read(0, buffer, sizeof buffer) < 0) fail("read");
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  unsigned port = strtoul(argv[2], 0, 10);
  int number = argc > 3 ? atoi(argv[3]) : 1;
  if (!strcmp(argv[1], "connect")) {
    int fd = dial(port);
    if (fd < 0) fail("connect");
    both_ways(fd);
  } else if (!strcmp(argv[1], "refused")) {
    for (int count = 0; count < number; count++) {
      if (dial(port) >= 0) return 1;
      if (errno != ECONNRESET) fail("connect");
    }
  } else if (!strcmp(argv[1], "short")) {
    for (int count = 0; count < number; count++) once(port, count);
  } else if (!strcmp(argv[1], "hold")) {
    hold(port, number);
  } else if (!strcmp(argv[1], "echo")) {
    int at = listener(port);
    for (int count = 0; count < number; count++) {
      int fd = accept(at, 0, 0);
      if (fd < 0) fail("accept");
      if (fork() == 0) {
        while (copy(fd, fd)) {}
        return 0;
      }
      close(fd);
      while (waitpid(-1, 0, WNOHANG) > 0) {}
    }
    while (wait(0) > 0) {}
  } else if (!strcmp(argv[1], "sink")) {
    int fd = accept(listener(port), 0, 0);
    sleep(number);
    unsigned long total = 0;
    ssize_t count;
    while ((count = read(fd, buffer, sizeof buffer)) > 0) total += count;
    printf("sink: %lu\n", total);
  } else return 2;
  return 0;
}
