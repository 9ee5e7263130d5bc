/*
 * Short TCP connections, one after the other: connect, a byte there, a byte back, close.
 *   connections serve PORT             answers for ever
 *   connections ADDRESS PORT MS        prints "N connections in M us", at least one
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "timing.h"

static void serve(struct sockaddr_in address)
{
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
  if (listen(listener, 1024) < 0) die("listen");
  for (;;) {
    int peer = accept(listener, NULL, NULL);
    char byte;
    if (peer < 0) continue;
    if (read(peer, &byte, 1) == 1 && write(peer, &byte, 1) != 1) perror("write");
    close(peer);
  }
}

/* A peer that does not answer ends the measurement with an error, not with a hang. */
static void once(struct sockaddr_in address)
{
  struct timeval limit = { .tv_sec = 20 };
  char byte = 'x';
  int one = socket(AF_INET, SOCK_STREAM, 0);
  if (one < 0) die("socket");
  setsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(one, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(one, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
  if (write(one, &byte, 1) != 1) die("write");
  if (read(one, &byte, 1) != 1) die("read");
  if (read(one, &byte, 1) != 0) die("end");
  close(one);
}

int main(int argc, char **argv)
{
  struct sockaddr_in address = { .sin_family = AF_INET };
  signal(SIGPIPE, SIG_IGN);
  if (argc == 3 && strcmp(argv[1], "serve") == 0) {
    address.sin_port = htons(atoi(argv[2]));
    serve(address);
  }
  if (argc != 4 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) return 2;
  address.sin_port = htons(atoi(argv[2]));
  long long start = now_us(), took;
  long count = 0;
  do {
    once(address);
    count += 1;
    took = now_us() - start;
  } while (took < atoll(argv[3]) * 1000);
  printf("%ld connections in %lld us\n", count, took);
  return 0;
}
