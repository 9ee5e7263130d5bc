// All that a program has started: what is in its session, and what descends from it in sessions of its own. What was left behind by a parent
// that has ended, and has a session of its own, cannot be told from others' and stays.
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent.h"

enum { MAX_ENTRIES = 8192, MAX_ROUNDS = 16 };

struct entry {
  pid_t pid, parent, session;
  char state;
  char ours;
};
static struct entry entries[MAX_ENTRIES];

static int read_entry(const char *pid, struct entry *e) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = 0;
  // pid (name) state parent group session …, and a name may hold parentheses.
  char *after = strrchr(text, ')');
  *e = (struct entry){.pid = atoi(pid)};
  return after && sscanf(after + 1, " %c %d %*d %d", &e->state, &e->parent, &e->session) == 3;
}

// @returns how many of the entries are taken
static int read_processes(void) {
  int count = 0;
  DIR *folder = opendir("/proc");
  if (!folder) return 0;
  for (struct dirent *d; count < MAX_ENTRIES && (d = readdir(folder));)
    if (isdigit((unsigned char)d->d_name[0])) count += read_entry(d->d_name, entries + count);
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

void kill_everything(pid_t root) {
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
}
