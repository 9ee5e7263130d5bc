// Programs to be: what a host asks for becomes a process in a session, a process group and, if there are any, a control group of its own.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent.h"
#include "lines.h"
#include "users.h"

enum { MAX_WORDS = 4096 };
extern char **environ;

struct plan {
  int flags;
  struct winsize size;
  const char *user_name, *cwd;
  char **argv, **envp;
  struct user user;
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
  if (has_variable(p->envp, name) || !concat(into, size, name, "=", value, (char *)0)) return;
  char **end = p->envp;
  while (*end) end++;
  *end = into;
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

// In the child, which may share the agent's memory until it is gone (vfork): only descriptors and ids change here.
static int become(const struct plan *p, const int *ends, int pty) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, 0);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  for (int fd = 0; fd < 3; fd++)
    if (dup2(ends[fd], fd) < 0) return errno;
  if (pty && ioctl(0, TIOCSCTTY, 0)) return errno;
  if (p->user_name[0]) {
    if (setgroups(p->user.group_count, p->user.groups)) return errno;
    if (setgid(p->user.gid) || setuid(p->user.uid)) return errno;
  }
  if (chdir(p->cwd[0] ? p->cwd : "/")) return errno;
  execvp(p->argv[0], p->argv);
  return errno;
}

// <linux/sched.h>, as far as it is used: not every C library comes with the kernel's headers.
struct clone_args {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
enum { CLONE_WAIT_FOR_EXEC = 0x4000 /* CLONE_VFORK */, CLONE3 = 435 };
#define INTO_CGROUP 0x200000000ull

// A child born into the group, which a child that went there by itself would wait long for. @returns as fork, -1 also where it cannot be done
static pid_t fork_into(int group) {
  struct clone_args how = {.flags = CLONE_WAIT_FOR_EXEC | INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = group};
  return group < 0 ? -1 : syscall(CLONE3, &how, sizeof how);
}

// @returns 0 or an errno
static int start_child(struct plan *p, const int *ends, int pty, struct process *process) {
  // Where the child says why it could not become the program; it may be a copy of us.
  static volatile int *failure;
  if (!failure) {
    void *page = mmap(0, sizeof *failure, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return errno;
    failure = page;
  }
  *failure = 0;
  char **own = environ;
  environ = p->envp; // execvp looks for PATH there
  int group = group_make(&process->group);
  pid_t pid = fork_into(group);
  int grouped = pid > 0;
  if (pid < 0) pid = vfork();
  if (pid == 0) {
    *failure = become(p, ends, pty);
    _exit(127);
  }
  int error = pid < 0 ? errno : *failure;
  environ = own;
  if (group >= 0) close(group);
  if (pid > 0 && error) waitpid(pid, 0, 0);
  if (error || !grouped) {
    group_forget(process->group, 0);
    process->group = 0;
  }
  process->pid = pid;
  return error;
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
  if (!error) error = start_child(p, ends, pty, process);
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
  p.user_name = take_string(r);
  p.cwd = take_string(r);
  p.argv = take_strings(r, 0);
  p.envp = take_strings(r, 3);
  struct process *process = calloc(1, sizeof *process);
  char *input = malloc(WINDOW);
  char path[128], home_variable[280], term[32];
  int error = r->bad ? EINVAL : !process || !input ? ENOMEM : !p.argv[0] ? EINVAL : p.user_name[0] ? find_user(p.user_name, &p.user) : 0;
  if (!error) {
    add_variable(&p, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", path, sizeof path);
    add_variable(&p, "HOME", p.user_name[0] ? p.user.home : "/root", home_variable, sizeof home_variable);
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
