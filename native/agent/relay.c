// A connection of the host carried on to a TCP port of this machine, by the loopback: bytes both ways, each with an end of its own.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "agent.h"

// @returns a socket on its way to the port, or -1 with errno
static int dial(int family, uint16_t port) {
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  struct sockaddr *to = family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (!connect(fd, to, family == AF_INET ? sizeof four : sizeof six) || errno == EINPROGRESS) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

// The peer has taken the connection, or has not.
static void settle(struct session *s, int error) {
  int one = 1;
  if (error) {
    relay_close(s);
    send_error(s, error);
  } else {
    s->relaying = RELAYING;
    setsockopt(s->peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    done(s);
  }
  transmit(s);
}

void relay_connect(struct session *s, struct reader *r) {
  uint32_t port = take_number(r, 2);
  if (r->bad || !port) {
    send_error(s, EINVAL);
    return;
  }
  // The loopback's answer is there when connect returns, but for a listener whose queue is full: one that refuses is known now.
  s->peer = dial(AF_INET, port);
  int refused = s->peer < 0 ? errno : 0;
  if (!refused) {
    socklen_t length = sizeof refused;
    getsockopt(s->peer, SOL_SOCKET, SO_ERROR, &refused, &length);
  }
  if (refused) {
    relay_close(s);
    s->peer = dial(AF_INET6, port);
    if (s->peer < 0) {
      send_error(s, refused);
      return;
    }
  }
  s->relaying = CONNECTING;
}

void relay_watch(struct session *s, struct pollfd *socket, struct pollfd *write_peer, struct pollfd *read_peer) {
  if (s->relaying == CONNECTING) {
    *write_peer = (struct pollfd){.fd = s->peer, .events = POLLOUT};
    return;
  }
  if (s->host_gone || (s->host_ended && s->peer_ended && !s->out_len)) socket->fd = -1;
  if (!s->host_ended && s->in_len < MAX_FRAME) socket->events |= POLLIN;
  if (s->out_len) socket->events |= POLLOUT;
  // One that has gone would be told of over and over while its last bytes wait; one that only waits must be told of.
  if (!socket->events && !s->host_ended) socket->fd = -1;
  if (s->in_len) *write_peer = (struct pollfd){.fd = s->peer, .events = POLLOUT};
  if (!s->peer_ended && !s->host_gone && s->out_len < OUT_SIZE)
    *read_peer = (struct pollfd){.fd = s->peer, .events = POLLIN};
}

static void from_host(struct session *s, int events) {
  if (!s->host_ended && s->in_len < MAX_FRAME && (events & (POLLIN | POLLHUP | POLLERR))) {
    ssize_t count = read(s->fd, s->in + s->in_len, MAX_FRAME - s->in_len);
    if (count > 0) s->in_len += count;
    else if (count == 0) s->host_ended = 1;
    else if (errno != EAGAIN && errno != EINTR) s->broken = 1;
  } else if (s->host_ended && (events & (POLLHUP | POLLERR))) {
    // What it sent before is still delivered; what comes for it is not.
    s->host_gone = 1;
    s->out_len = 0;
  }
}

static void to_peer(struct session *s) {
  if (s->in_len) {
    ssize_t count = send(s->peer, s->in, s->in_len, MSG_NOSIGNAL);
    if (count > 0) {
      s->in_len -= count;
      memmove(s->in, s->in + count, s->in_len);
    } else if (errno != EAGAIN && errno != EINTR) s->broken = 1;
  }
  if (s->host_ended == 1 && !s->in_len) {
    shutdown(s->peer, SHUT_WR);
    s->host_ended = 2; // told
  }
}

static void from_peer(struct session *s) {
  ssize_t count = read(s->peer, s->out + s->out_len, OUT_SIZE - s->out_len);
  if (count > 0) s->out_len += count;
  else if (count == 0) s->peer_ended = 1;
  else if (errno != EAGAIN && errno != EINTR) s->broken = 1;
}

void relay_serve(struct session *s, int socket, int write_peer, int read_peer) {
  if (s->relaying == CONNECTING) {
    int error = 0;
    socklen_t length = sizeof error;
    if (socket & (POLLHUP | POLLERR)) s->broken = 1;
    else if (write_peer) {
      getsockopt(s->peer, SOL_SOCKET, SO_ERROR, &error, &length);
      settle(s, error);
    }
    return;
  }
  from_host(s, socket);
  to_peer(s);
  if (read_peer) from_peer(s);
  if (s->out_len && !s->broken) transmit(s);
  if (s->peer_ended == 1 && !s->out_len) {
    shutdown(s->fd, SHUT_WR);
    s->peer_ended = 2; // told
  }
  if (s->host_ended == 2 && (s->peer_ended == 2 || s->host_gone)) s->broken = 1;
}

void relay_close(struct session *s) {
  if (s->peer >= 0) close(s->peer);
  s->peer = -1;
  s->relaying = NO_RELAY;
}
