// The users and groups of /etc/passwd and /etc/group, as login finds them.
#pragma once
#include <sys/types.h>

enum { MAX_GROUPS = 64 };

struct user {
  uid_t uid;
  gid_t gid;
  char home[256];
  gid_t groups[MAX_GROUPS];
  size_t group_count;
};
// By a name, `uid` or `uid:gid`; one that is not listed has its number as group as well, and no others. @returns 0 or an errno
int find_user(const char *text, struct user *user);
