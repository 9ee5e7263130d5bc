// Programs: started in a session and process group of their own, fed and read within the credit that each side gives.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent.h"

enum { MAX_WORDS = 4096 };
extern char **environ;

struct plan {
  int flags;
  struct winsize size;
  const char *user, *cwd;
  char **argv, **envp;
  uid_t uid;
  gid_t gid;
  const char *user_name; // with groups of its own
};

static char **take_strings(struct reader *r, int more) {
  uint32_t count = take_number(r, 4);
  if (count > MAX_WORDS) r->bad = 1;
  if (r->bad) return 0;
  char **words = calloc(count + more + 1, sizeof *words);
  if (!words) {
    r->bad = 1;
    return 0;
  }
  for (uint32_t i = 0; i < count; i++) words[i] = (char *)take_string(r);
  return words;
}

static int has_variable(char **envp, const char *name) {
  size_t length = strlen(name);
  for (; *envp; envp++)
    if (!strncmp(*envp, name, length) && (*envp)[length] == '=') return 1;
  return 0;
}

static void add_variable(struct plan *p, const char *name, const char *value, char *into, size_t size) {
  if (has_variable(p->envp, name)) return;
  snprintf(into, size, "%s=%s", name, value);
  char **end = p->envp;
  while (*end) end++;
  *end = into;
}

// `name`, `uid` or `uid:gid`. @returns 0 or an errno
static int find_user(struct plan *p, const char **home) {
  *home = p->user[0] ? "/" : "/root";
  if (!p->user[0]) return 0;
  char *end;
  unsigned long uid = strtoul(p->user, &end, 10);
  struct passwd *entry = end == p->user ? getpwnam(p->user) : getpwuid(uid);
  if (entry) {
    p->uid = entry->pw_uid;
    p->gid = entry->pw_gid;
    p->user_name = entry->pw_name;
    *home = entry->pw_dir;
  } else if (end == p->user) return ENOENT;
  else p->uid = p->gid = uid;
  if (end != p->user && *end == ':') p->gid = strtoul(end + 1, &end, 10);
  return end != p->user && *end ? EINVAL : 0;
}

// A pty's two ends; the slave needs no devpts by its path. @returns 0 or an errno
static int open_pty(const struct winsize *size, int *master, int *slave) {
  int unlock = 0;
  *master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (*master < 0) return errno;
  if (ioctl(*master, TIOCSPTLCK, &unlock)) return errno;
  *slave = ioctl(*master, 0x5441 /* TIOCGPTPEER */, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*slave < 0) return errno;
  ioctl(*master, TIOCSWINSZ, size);
  return 0;
}

static void close_pair(int *pair) {
  for (int i = 0; i < 2; i++)
    if (pair[i] >= 0) close(pair[i]);
}

// In the child, which shares the agent's memory until it is gone (vfork): only descriptors and ids change here.
static int become(const struct plan *p, const int *ends, int pty) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, 0);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  for (int fd = 0; fd < 3; fd++)
    if (dup2(ends[fd], fd) < 0) return errno;
  if (pty && ioctl(0, TIOCSCTTY, 0)) return errno;
  if (p->user[0]) {
    if (p->user_name ? initgroups(p->user_name, p->gid) : setgroups(0, 0)) return errno;
    if (setgid(p->gid) || setuid(p->uid)) return errno;
  }
  if (chdir(p->cwd[0] ? p->cwd : "/")) return errno;
  execvp(p->argv[0], p->argv);
  return errno;
}

static int start(struct plan *p, struct process *process) {
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
  int error = 0;
  if (p->flags & SPAWN_PTY) {
    error = open_pty(&p->size, &in[1], &in[0]);
  } else if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) error = errno;
  int pty = p->flags & SPAWN_PTY;
  // Pipes' ends for the program must not be 0 to 2, or a dup2 would close another.
  int ends[3] = {in[0], pty ? in[0] : out[1], pty ? in[0] : err[1]};
  for (int i = 0; i < 3 && !error; i++)
    if ((ends[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, 3)) < 0) error = errno;
  if (!error) {
    volatile int failure = 0;
    char **own = environ;
    environ = p->envp; // execvp looks for PATH there
    pid_t pid = vfork();
    if (pid == 0) {
      failure = become(p, ends, pty);
      _exit(127);
    }
    environ = own;
    error = pid < 0 ? errno : failure;
    if (pid > 0 && failure) waitpid(pid, 0, 0);
    process->pid = pid;
  }
  for (int i = 0; i < 3; i++)
    if (ends[i] >= 3) close(ends[i]);
  if (error) {
    close_pair(in);
    close_pair(out);
    close_pair(err);
    return error;
  }
  close(in[0]);
  process->pty = pty;
  process->stdin_fd = in[1];
  process->out_fd[0] = pty ? in[1] : out[0];
  process->out_fd[1] = pty ? -1 : err[0];
  if (!pty) {
    close(out[1]);
    close(err[1]);
  }
  for (int i = 0; i < 2; i++)
    if (process->out_fd[i] >= 0) fcntl(process->out_fd[i], F_SETFL, O_NONBLOCK);
  fcntl(process->stdin_fd, F_SETFL, O_NONBLOCK);
  return 0;
}

void spawn(struct session *s, struct reader *r) {
  struct plan p = {.flags = take_number(r, 1)};
  p.size.ws_row = take_number(r, 2);
  p.size.ws_col = take_number(r, 2);
  p.user = take_string(r);
  p.cwd = take_string(r);
  p.argv = take_strings(r, 0);
  p.envp = take_strings(r, 3);
  struct process *process = calloc(1, sizeof *process);
  char *input = malloc(WINDOW);
  const char *home = "/";
  char path[128], home_variable[512], term[32];
  int error = r->bad ? EINVAL : !process || !input ? ENOMEM : !p.argv[0] ? EINVAL : find_user(&p, &home);
  if (!error) {
    add_variable(&p, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", path, sizeof path);
    add_variable(&p, "HOME", home, home_variable, sizeof home_variable);
    if (p.flags & SPAWN_PTY) add_variable(&p, "TERM", "linux", term, sizeof term);
    error = start(&p, process);
  }
  free(p.argv);
  free(p.envp);
  if (error) {
    free(process);
    free(input);
    send_error(s, error);
    return;
  }
  process->input = input;
  s->process = process;
  uint32_t pid = process->pid;
  send_frame(s, STARTED, &pid, 4);
}

static void close_input(struct process *p) {
  if (p->stdin_fd < 0) return;
  if (p->pty) return; // Ctrl-D is the host's to send
  close(p->stdin_fd);
  p->stdin_fd = -1;
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
      if (all && number == SIGKILL) kill_everything(p->pid);
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
  kill_everything(s->process->pid);
  free_process(s);
}
