// Frames in and out of a session's buffers, and what is in them.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "agent.h"

int has_room(struct session *s) { return OUT_SIZE - s->out_len >= MAX_FRAME; }

void send_frame(struct session *s, int type, const void *payload, size_t length) {
  if (length > MAX_PAYLOAD || OUT_SIZE - s->out_len < FRAME_HEADER + length) {
    s->broken = 1;
    return;
  }
  uint32_t size = length + 1;
  memcpy(s->out + s->out_len, &size, 4);
  s->out[s->out_len + 4] = type;
  if (length) memcpy(s->out + s->out_len + FRAME_HEADER, payload, length);
  s->out_len += FRAME_HEADER + length;
}

void send_error(struct session *s, int error) {
  uint32_t number = error;
  send_frame(s, ERROR, &number, 4);
}

void done(struct session *s) { send_frame(s, DONE, 0, 0); }

uint32_t take_number(struct reader *r, int bytes) {
  uint32_t value = 0;
  if (r->end - r->at < bytes) {
    r->bad = 1;
    return 0;
  }
  memcpy(&value, r->at, bytes);
  r->at += bytes;
  return value;
}

const char *take_string(struct reader *r) {
  const char *text = r->at;
  const char *end = memchr(text, 0, r->end - text);
  if (!end) {
    r->bad = 1;
    return "";
  }
  r->at = end + 1;
  return text;
}

void read_frames(struct session *s) {
  size_t at = 0;
  uint32_t size;
  while (!s->broken && !s->relaying && s->in_len - at >= 4 && has_room(s)) {
    memcpy(&size, s->in + at, 4);
    if (size < 1 || size > MAX_PAYLOAD + 1) {
      s->broken = 1;
      return;
    }
    if (s->in_len - at < 4 + size) break;
    struct reader r = {s->in + at + FRAME_HEADER, s->in + at + 4 + size, 0};
    message(s, (unsigned char)s->in[at + 4], &r);
    at += 4 + size;
  }
  s->in_len -= at;
  memmove(s->in, s->in + at, s->in_len);
}

void receive(struct session *s) {
  ssize_t count = read(s->fd, s->in + s->in_len, MAX_FRAME - s->in_len);
  if (count > 0) s->in_len += count;
  else if (count == 0 || (errno != EAGAIN && errno != EINTR)) s->broken = 1;
}

void transmit(struct session *s) {
  ssize_t count = send(s->fd, s->out, s->out_len, MSG_NOSIGNAL);
  if (count < 0) {
    if (errno != EAGAIN && errno != EINTR) s->broken = 1;
    return;
  }
  s->out_len -= count;
  memmove(s->out, s->out + count, s->out_len);
}
