// Programs that run: fed and read within the credit that each side gives, until they have ended and all they wrote is told.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent.h"

static void close_input(struct process *p) {
  if (p->stdin_fd < 0) return;
  if (p->pty) return; // Ctrl-D is the host's to send
  close(p->stdin_fd);
  p->stdin_fd = -1;
}

static void kill_all(struct process *p) {
  p->killed = 1;
  kill_everything(p->pid, p->group);
}

void process_message(struct session *s, int type, struct reader *r) {
  struct process *p = s->process;
  size_t length = r->end - r->at;
  if (type == STDIN) {
    if (length > WINDOW - p->input_len || p->input_ended) {
      s->broken = 1; // more than it was given credit for
      return;
    }
    for (size_t i = 0; i < length; i++) p->input[(p->input_at + p->input_len + i) % WINDOW] = r->at[i];
    p->input_len += length;
    process_input(s);
  } else if (type == STDIN_END) {
    p->input_ended = 1;
    process_input(s);
  } else if (type == SIGNAL) {
    int number = take_number(r, 1), all = r->at < r->end && take_number(r, 1);
    // Of a group whose leader is gone others may be left: those who hold the output.
    if (!r->bad && number > 0 && number < 65) {
      if (all && number == SIGKILL) kill_all(p);
      else kill(-p->pid, number);
    }
  } else if (type == RESIZE) {
    struct winsize size = {.ws_row = take_number(r, 2)};
    size.ws_col = take_number(r, 2);
    if (!r->bad && p->pty && p->out_fd[0] >= 0) ioctl(p->out_fd[0], TIOCSWINSZ, &size);
  } else if (type == CREDIT) {
    uint32_t which = take_number(r, 1), bytes = take_number(r, 4);
    if (!r->bad && which < 2) p->credit[which] += bytes;
  }
}

// Writes what it can of the input; a program that reads no more gets the rest thrown away.
void process_input(struct session *s) {
  struct process *p = s->process;
  while (p->input_len) {
    uint32_t part = p->input_len < WINDOW - p->input_at ? p->input_len : WINDOW - p->input_at;
    ssize_t count = p->stdin_fd < 0 ? part : write(p->stdin_fd, p->input + p->input_at, part);
    if (count < 0) {
      if (errno == EAGAIN || errno == EINTR) break;
      close_input(p);
      count = part;
    }
    p->input_at = (p->input_at + count) % WINDOW;
    p->input_len -= count;
    p->owed += count;
  }
  if (p->owed >= WINDOW / 2 || (p->owed && !p->input_len)) {
    send_frame(s, STDIN_CREDIT, &p->owed, 4);
    p->owed = 0;
  }
  if (p->input_ended && !p->input_len) close_input(p);
}

void process_output(struct session *s, int which) {
  static char buffer[MAX_PAYLOAD];
  struct process *p = s->process;
  size_t most = p->credit[which] < MAX_PAYLOAD ? p->credit[which] : MAX_PAYLOAD;
  ssize_t count = read(p->out_fd[which], buffer, most);
  if (count > 0) {
    p->credit[which] -= count;
    send_frame(s, which ? STDERR : STDOUT, buffer, count);
  } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) { // a pty says EIO
    close(p->out_fd[which]);
    p->out_fd[which] = -1;
    if (p->pty) p->stdin_fd = -1;
  }
}

void process_reaped(struct session *s, int status) {
  s->process->reaped = 1;
  s->process->status = status;
}

static void free_process(struct session *s) {
  struct process *p = s->process;
  if (p->stdin_fd >= 0 && !p->pty) close(p->stdin_fd);
  for (int i = 0; i < 2; i++)
    if (p->out_fd[i] >= 0) close(p->out_fd[i]);
  int killed = p->killed || (p->reaped && WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGKILL);
  group_forget(p->group, killed);
  free(p->input);
  free(p);
  s->process = 0;
}

void process_finished(struct session *s) {
  struct process *p = s->process;
  if (!p->reaped || !has_room(s)) return;
  if (!p->told) {
    unsigned char how[2] = {0, 0};
    if (WIFSIGNALED(p->status)) how[0] = WTERMSIG(p->status);
    else how[1] = WEXITSTATUS(p->status);
    send_frame(s, EXIT, how, 2);
    p->told = 1;
  }
  if (p->out_fd[0] >= 0 || p->out_fd[1] >= 0 || !has_room(s)) return;
  free_process(s);
  done(s);
}

// The host has gone: so does everything it started.
void process_kill(struct session *s) {
  if (!s->process) return;
  kill_all(s->process);
  free_process(s);
}
