// Folders, entry by entry. The kernel's struct linux_dirent64 is the headers' struct dirent.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "syscall.h"

struct __dirstream {
  int fd;
  long at, end;
  _Alignas(struct dirent) char entries[3968];
};

DIR *fdopendir(int fd) {
  DIR *folder = malloc(sizeof *folder);
  if (!folder) return 0;
  folder->fd = fd;
  folder->at = folder->end = 0;
  return folder;
}

DIR *opendir(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *folder = fd < 0 ? 0 : fdopendir(fd);
  if (fd >= 0 && !folder) close(fd);
  return folder;
}

struct dirent *readdir(DIR *folder) {
  if (folder->at == folder->end) {
    folder->at = 0;
    folder->end = CALL(getdents64, folder->fd, folder->entries, sizeof folder->entries);
    if (folder->end <= 0) {
      folder->end = 0;
      return 0;
    }
  }
  struct dirent *entry = (struct dirent *)(folder->entries + folder->at);
  folder->at += entry->d_reclen;
  return entry;
}

int closedir(DIR *folder) {
  int failed = close(folder->fd);
  free(folder);
  return failed;
}
