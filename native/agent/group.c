// A control group (cgroup v2) for each program where the kernel has them: whatever it starts is in it and cannot get out without meaning to,
// however it forks, and one write kills it all. Where there are none, tree.c has to do.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "agent.h"
#include "lines.h"

// Empty groups are kept for who comes next, as to make one takes longer than to start a program.
enum { NOT_LOOKED_FOR = -2, NONE = -1, CGROUP2_SUPER_MAGIC = 0x63677270, MAX_KEPT = 8 };

static int home = NOT_LOOKED_FOR; // the folder of the agent's own group
static int left_over;             // groups that outlived their programs
static uint32_t kept[MAX_KEPT], kept_count;
static char prefix[48];

static char *decimal(uint32_t value, char *end) {
  *--end = 0;
  do *--end = '0' + value % 10;
  while (value /= 10);
  return end;
}

// The folder's path below `home`, or that of a file in it.
static void path_of(uint32_t number, const char *file, char *path, size_t size) {
  char digits[12];
  concat(path, size, prefix, decimal(number, digits + sizeof digits), file, (char *)0);
}

static int open_home(void) {
  static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
  static struct lines own;
  char path[512], pid[12], *line = 0;
  struct statfs system;
  if (!lines_open(&own, "/proc/self/cgroup")) return NONE;
  while ((line = lines_next(&own)) && strncmp(line, "0::", 3)) {}
  int fd = NONE;
  for (unsigned i = 0; line && fd < 0 && i < sizeof roots / sizeof *roots; i++) {
    if (!concat(path, sizeof path, roots[i], line + 3, (char *)0)) break;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && (fstatfs(fd, &system) || system.f_type != CGROUP2_SUPER_MAGIC)) {
      close(fd);
      fd = NONE;
    }
  }
  lines_close(&own);
  concat(prefix, sizeof prefix, "typevisor-", decimal(getpid(), pid + sizeof pid), "-", (char *)0);
  return fd;
}

int group_make(uint32_t *number) {
  static uint32_t last;
  char path[64];
  if (home == NOT_LOOKED_FOR) home = open_home();
  if (home < 0) return -1;
  int fresh = !kept_count;
  uint32_t chosen = fresh ? ++last : kept[--kept_count];
  path_of(chosen, "", path, sizeof path);
  if (fresh && mkdirat(home, path, 0755)) return -1;
  int fd = openat(home, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // Without a way to kill (Linux before 5.14) it is of no use.
  if (fd < 0 || faccessat(fd, "cgroup.kill", W_OK, 0)) {
    unlinkat(home, path, AT_REMOVEDIR);
    if (fd >= 0) close(fd);
    close(home);
    home = NONE;
    return -1;
  }
  *number = chosen;
  return fd;
}

void group_kill(uint32_t number) {
  char path[80];
  if (!number) return;
  path_of(number, "/cgroup.kill", path, sizeof path);
  int fd = openat(home, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return; // gone, and all that was in it
  // One that its program has made threaded cannot be killed as a whole: then tree.c has done what can be done.
  if (write(fd, "1", 1) != 1) errno = 0;
  close(fd);
}

static int is_empty(uint32_t number) {
  static struct lines events;
  char path[80];
  int empty = 0, frozen = 0;
  path_of(number, "/cgroup.events", path, sizeof path);
  int fd = openat(home, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  lines_from(&events, fd);
  for (char *line; (line = lines_next(&events));) {
    empty |= !strcmp(line, "populated 0");
    frozen |= !strcmp(line, "frozen 1");
  }
  lines_close(&events);
  return empty && !frozen;
}

void group_forget(uint32_t number, int killed) {
  char path[64];
  if (!number) return;
  // Some kernels (6.18 is one) kill what is born into a group that has ever been killed.
  if (!killed && kept_count < MAX_KEPT && is_empty(number)) {
    kept[kept_count++] = number;
    return;
  }
  path_of(number, "", path, sizeof path);
  // What a daemon is still in is looked at again when one of them ends.
  if (unlinkat(home, path, AT_REMOVEDIR)) left_over++;
}

static int is_kept(const char *name) {
  char path[64];
  for (uint32_t i = 0; i < kept_count; i++) {
    path_of(kept[i], "", path, sizeof path);
    if (!strcmp(path, name)) return 1;
  }
  return 0;
}

void groups_sweep(void) {
  if (!left_over) return;
  int fd = openat(home, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *folder = fd < 0 ? 0 : fdopendir(fd);
  if (!folder) {
    if (fd >= 0) close(fd);
    return;
  }
  left_over = 0;
  for (struct dirent *entry; (entry = readdir(folder));)
    if (!strncmp(entry->d_name, prefix, strlen(prefix)) && !is_kept(entry->d_name) && unlinkat(home, entry->d_name, AT_REMOVEDIR)) left_over++;
  closedir(folder);
}
