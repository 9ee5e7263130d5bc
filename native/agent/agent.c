// Typevisor's agent: runs programs and handles files in a guest for its host, over vsock. As process 1 it also makes the
// machine usable first. One thread, one poll loop; nothing blocks but the file system.
//   agent [PATH]    with a path it serves a Unix socket there instead, which is how it is tested without a guest
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent.h"
#include "lines.h"

// <linux/vm_sockets.h>, which not every compiler finds.
struct vsock_address {
  uint16_t family, reserved;
  uint32_t port, cid;
  unsigned char flags, zero[3];
};
enum { FAMILY_VSOCK = 40, MAX_SESSIONS = 512, PROBE_MS = 50 };

static struct session *sessions;
static int session_count;

static void hello(struct session *s, struct reader *r) {
  uint32_t least = take_number(r, 2), most = take_number(r, 2);
  if (r->bad || least > VERSION || most < VERSION) {
    send_error(s, EPROTONOSUPPORT);
    return;
  }
  uint16_t version = VERSION;
  s->greeted = 1;
  send_frame(s, WELCOME, &version, 2);
}

void message(struct session *s, int type, struct reader *r) {
  if (type == HELLO) hello(s, r);
  else if (!s->greeted) s->broken = 1;
  else if (s->process && (type == STDIN || type == STDIN_END || type == SIGNAL || type == RESIZE || type == CREDIT))
    process_message(s, type, r);
  else if (type == DATA) file_data(s, r);
  else if (type == DATA_END) file_data_end(s);
  else if (s->process || s->file >= 0 || s->folder || s->probed) send_error(s, EBUSY);
  else if (type == SPAWN) spawn(s, r);
  else if (type >= STAT && type <= WRITE) file_request(s, type, r);
  else if (type == POWEROFF) {
    done(s);
    send(s->fd, s->out, s->out_len, 0);
    uint32_t patience = r->at < r->end ? take_number(r, 4) : LAST_WORDS_MS;
    power_off(r->bad ? LAST_WORDS_MS : patience);
  } else if (type == PROBE) probe_request(s, r);
  else if (type == CONNECT) relay_connect(s, r);
  else if (type == CLOCK) clock_request(s, r);
  else if (type < STDIN || type > CREDIT) send_error(s, ENOSYS); // a message for a program that has ended meanwhile is none
}

static void accept_session(int listener) {
  int fd = accept4(listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  struct session *s = calloc(1, sizeof *s);
  char *buffers = malloc(MAX_FRAME + OUT_SIZE);
  if (!s || !buffers || session_count >= MAX_SESSIONS) {
    free(s);
    free(buffers);
    close(fd);
    return;
  }
  *s = (struct session){.fd = fd, .in = buffers, .out = buffers + MAX_FRAME, .file = -1, .peer = -1, .next = sessions};
  sessions = s;
  session_count++;
}

static void drop_broken(void) {
  for (struct session **link = &sessions; *link;) {
    struct session *s = *link;
    if (!s->broken) {
      link = &s->next;
      continue;
    }
    *link = s->next;
    session_count--;
    process_kill(s);
    file_close(s);
    relay_close(s);
    close(s->fd);
    free(s->in);
    free(s);
  }
}

static void reap(int signals) {
  struct signalfd_siginfo info;
  while (read(signals, &info, sizeof info) > 0) {}
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    int known = 0;
    for (struct session *s = sessions; s; s = s->next)
      if (s->process && s->process->pid == pid && !s->process->reaped) {
        process_reaped(s, status);
        known = 1;
      }
    if (!known) groups_sweep();
  }
}

static int listen_for_host(const char *path) {
  struct vsock_address port = {.family = FAMILY_VSOCK, .cid = -1, .port = PORT};
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  struct sockaddr *at = (struct sockaddr *)&port;
  socklen_t length = sizeof port;
  if (path) {
    concat(name.sun_path, sizeof name.sun_path, path, (char *)0);
    at = (struct sockaddr *)&name;
    length = sizeof name;
  }
  int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0 && (bind(fd, at, length) || listen(fd, 128))) {
    close(fd);
    fd = -1;
  }
  return fd;
}

// What of a session is watched: its socket, its program's input and two outputs.
enum { SOCKET, INPUT, OUTPUT, ERRORS, WATCHED };

static int watch(struct session *s, struct pollfd *fds) {
  struct process *p = s->process;
  int room = has_room(s);
  for (int i = 0; i < WATCHED; i++) fds[i] = (struct pollfd){.fd = -1};
  fds[SOCKET].fd = s->fd;
  if (s->relaying) {
    relay_watch(s, fds + SOCKET, fds + INPUT, fds + OUTPUT);
    return 0;
  }
  if (s->in_len < MAX_FRAME && room) fds[SOCKET].events |= POLLIN;
  if (s->out_len) fds[SOCKET].events |= POLLOUT;
  if (p) {
    if (p->input_len && p->stdin_fd >= 0) fds[INPUT] = (struct pollfd){.fd = p->stdin_fd, .events = POLLOUT};
    for (int which = 0; which < 2; which++)
      if (p->out_fd[which] >= 0 && p->credit[which] && room)
        fds[OUTPUT + which] = (struct pollfd){.fd = p->out_fd[which], .events = POLLIN};
  }
  return !s->out_len && (s->folder || (s->file >= 0 && !s->writing)); // there is something to do at once
}

static void serve(struct session *s, const struct pollfd *fds) {
  if (s->relaying) {
    relay_serve(s, fds[SOCKET].revents, fds[INPUT].revents, fds[OUTPUT].revents);
    return;
  }
  if (fds[SOCKET].revents & (POLLIN | POLLHUP | POLLERR)) receive(s);
  if (s->process && fds[INPUT].revents) process_input(s);
  for (int which = 0; which < 2; which++)
    if (s->process && fds[OUTPUT + which].revents && has_room(s)) process_output(s, which);
  read_frames(s);
  if ((s->folder || s->file >= 0) && has_room(s)) file_continue(s);
  if (s->process) process_finished(s);
  if (s->out_len) transmit(s);
  // Frames that had to wait for room: nothing else would wake us for them.
  read_frames(s);
}

int main(int argc, char **argv) {
  // The kernel gives its first process the words of its command line that it does not know itself.
  const char *path = getpid() != 1 && argc > 1 ? argv[1] : 0;
  if (getpid() == 1) boot_as_init();
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_BLOCK, &mask, 0);
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_CHILD_SUBREAPER, 1); // beside an init, too, we bury what our programs leave behind
  int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  int listener;
  // The driver may still be on its way.
  while ((listener = listen_for_host(path)) < 0) usleep(20000);
  static struct pollfd fds[2 + MAX_SESSIONS * WATCHED];
  for (;;) {
    fds[0] = (struct pollfd){.fd = signals, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = session_count < MAX_SESSIONS ? listener : -1, .events = POLLIN};
    int count = 2, busy = 0, probing = 0;
    struct session *first = sessions;
    for (struct session *s = first; s; s = s->next, count += WATCHED) {
      busy |= watch(s, fds + count);
      probing |= s->probed;
    }
    if (poll(fds, count, busy ? 0 : probing ? PROBE_MS : -1) < 0 && errno != EINTR) return 1;
    if (fds[0].revents) reap(signals);
    count = 2;
    for (struct session *s = first; s; s = s->next, count += WATCHED) serve(s, fds + count);
    if (probing) probe_look(sessions);
    if (fds[1].revents) accept_session(listener);
    drop_broken();
  }
}
