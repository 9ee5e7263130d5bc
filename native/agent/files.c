// Files of the guest, for its host.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent.h"

static void result(struct session *s, int failed) {
  if (failed) send_error(s, errno);
  else done(s);
}

static uint64_t nanoseconds(struct timespec time) { return (uint64_t)time.tv_sec * 1000000000u + time.tv_nsec; }

static void status(struct session *s, const char *path, int follow) {
  struct stat st;
  if (follow ? stat(path, &st) : lstat(path, &st)) {
    send_error(s, errno);
    return;
  }
  struct {
    uint32_t mode, uid, gid, nlink;
    uint64_t size, ino, mtime, atime, ctime;
  } answer = {st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_size, st.st_ino,
              nanoseconds(st.st_mtim), nanoseconds(st.st_atim), nanoseconds(st.st_ctim)};
  send_frame(s, STATUS, &answer, sizeof answer);
}

static void open_file(struct session *s, const char *path, int flags, mode_t mode) {
  // Not to wait for whoever has a pipe's other end: all the others would wait with us.
  s->file = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
  struct stat st;
  if (s->file >= 0 && !fstat(s->file, &st) && S_ISDIR(st.st_mode)) {
    file_close(s);
    errno = EISDIR;
  }
  if (s->file < 0) send_error(s, errno);
}

void file_request(struct session *s, int type, struct reader *r) {
  uint32_t number = type == STAT ? take_number(r, 1) : type == MKDIR || type == WRITE ? take_number(r, 4) : 0;
  const char *path = take_string(r);
  const char *other = type == RENAME ? take_string(r) : "";
  if (r->bad) {
    send_error(s, EINVAL);
    return;
  }
  switch (type) {
  case STAT:
    status(s, path, number);
    return;
  case LIST:
    s->folder = opendir(path);
    if (!s->folder) send_error(s, errno);
    return;
  case MKDIR:
    result(s, mkdir(path, number));
    return;
  case REMOVE:
    result(s, unlink(path) && (errno != EISDIR || rmdir(path)));
    return;
  case RENAME:
    result(s, rename(path, other));
    return;
  case READ:
    open_file(s, path, O_RDONLY, 0);
    return;
  case WRITE:
    open_file(s, path, O_WRONLY | O_CREAT | O_TRUNC, number);
    if (s->file < 0) return;
    s->writing = 1;
    done(s);
  }
}

void file_data(struct session *s, struct reader *r) {
  // What comes after a failure was on its way before the host knew of it.
  if (!s->writing) return;
  while (r->at < r->end) {
    ssize_t count = write(s->file, r->at, r->end - r->at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      send_error(s, errno);
      file_close(s);
      return;
    }
    r->at += count;
  }
}

void file_data_end(struct session *s) {
  if (!s->writing) return;
  int failed = close(s->file);
  s->file = -1;
  s->writing = 0;
  result(s, failed);
}

static void list_more(struct session *s) {
  static char names[MAX_PAYLOAD];
  size_t length = 0;
  while (length + 1 + 256 <= sizeof names) {
    errno = 0;
    struct dirent *entry = readdir(s->folder);
    if (!entry) {
      int error = errno;
      if (length) send_frame(s, NAMES, names, length);
      closedir(s->folder);
      s->folder = 0;
      if (error) send_error(s, error);
      else done(s);
      return;
    }
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    names[length++] = entry->d_type;
    size_t size = strlen(entry->d_name) + 1;
    memcpy(names + length, entry->d_name, size);
    length += size;
  }
  send_frame(s, NAMES, names, length);
}

void file_continue(struct session *s) {
  static char buffer[MAX_PAYLOAD];
  // Two frames may be needed at the end: both must fit.
  if (s->out_len) return;
  if (s->folder) list_more(s);
  else if (!s->writing) {
    ssize_t count = read(s->file, buffer, sizeof buffer);
    if (count > 0) send_frame(s, DATA, buffer, count);
    else if (count == 0) {
      file_close(s);
      done(s);
    } else if (errno != EINTR) {
      send_error(s, errno);
      file_close(s);
    }
  }
}

void file_close(struct session *s) {
  if (s->file >= 0) close(s->file);
  if (s->folder) closedir(s->folder);
  s->file = -1;
  s->folder = 0;
  s->writing = 0;
}
