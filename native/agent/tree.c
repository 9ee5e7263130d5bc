// All that a program has started: what is in its session, and what descends from it in sessions of its own. What was left behind by a parent
// that has ended, and has a session of its own, cannot be told from others' by that: the control group has it, where there is one.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "agent.h"
#include "lines.h"

enum { MAX_ENTRIES = 8192, MAX_ROUNDS = 16 };

struct entry {
  pid_t pid, parent, session;
  char state;
  char ours;
};
static struct entry entries[MAX_ENTRIES];

static int read_entry(const char *pid, struct entry *e) {
  char path[64], text[512];
  if (!concat(path, sizeof path, "/proc/", pid, "/stat", (char *)0)) return 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = 0;
  // pid (name) state parent group session …, and a name may hold parentheses.
  const char *after = strrchr(text, ')');
  if (!after || strlen(after) < 4) return 0;
  *e = (struct entry){.pid = parse_number(&pid, 10), .state = after[2]};
  after += 4;
  e->parent = parse_number(&after, 10);
  after += *after == ' ';
  parse_number(&after, 10);
  after += *after == ' ';
  e->session = parse_number(&after, 10);
  return e->session >= 0;
}

// @returns how many of the entries are taken
static int read_processes(void) {
  int count = 0;
  DIR *folder = opendir("/proc");
  if (!folder) return 0;
  for (struct dirent *d; count < MAX_ENTRIES && (d = readdir(folder));)
    if (d->d_name[0] >= '1' && d->d_name[0] <= '9') count += read_entry(d->d_name, entries + count);
  closedir(folder);
  return count;
}

static int is_ours(pid_t pid, int count) {
  for (int i = 0; i < count; i++)
    if (entries[i].pid == pid) return entries[i].ours;
  return 0;
}

static void mark(pid_t root, int count) {
  for (int i = 0; i < count; i++) entries[i].ours = entries[i].pid == root || entries[i].session == root;
  for (int more = 1; more;) {
    more = 0;
    for (int i = 0; i < count; i++)
      if (!entries[i].ours && is_ours(entries[i].parent, count)) more = entries[i].ours = 1;
  }
}

void kill_everything(pid_t root, uint32_t group) {
  int count = 0;
  // Stopped first: what is stopped starts nothing behind our back.
  for (int round = 0, moving = 1; moving && round < MAX_ROUNDS; round++) {
    count = read_processes();
    mark(root, count);
    moving = 0;
    for (int i = 0; i < count; i++)
      if (entries[i].ours && !strchr("TtZX", entries[i].state)) moving |= !kill(entries[i].pid, SIGSTOP);
  }
  kill(-root, SIGKILL);
  for (int i = 0; i < count; i++)
    if (entries[i].ours) kill(entries[i].pid, SIGKILL);
  group_kill(group);
}
