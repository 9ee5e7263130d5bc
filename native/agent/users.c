#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include "lines.h"
#include "users.h"

// name:password:uid:gid:comment:home:shell. @returns whether it is the one
static int is_user(char *line, const char *name, long uid, struct user *user, char *found_name, size_t size) {
  char *field[6] = {line};
  for (int i = 1; i < 6; i++)
    if (!(field[i] = cut_at(field[i - 1], ':'))) return 0;
  cut_at(field[5], ':');
  const char *number = field[2], *group = field[3];
  long its_uid = parse_number(&number, 10), its_gid = parse_number(&group, 10);
  if (its_uid < 0 || its_gid < 0 || (uid >= 0 ? its_uid != uid : strcmp(field[0], name) != 0)) return 0;
  user->uid = its_uid;
  user->gid = its_gid;
  if (!concat(user->home, sizeof user->home, field[5], (char *)0)) strcpy(user->home, "/");
  return concat(found_name, size, field[0], (char *)0);
}

static void add_group(struct user *user, gid_t gid) {
  for (size_t i = 0; i < user->group_count; i++)
    if (user->groups[i] == gid) return;
  if (user->group_count < MAX_GROUPS) user->groups[user->group_count++] = gid;
}

static void find_groups(const char *name, struct user *user) {
  struct lines list;
  if (!lines_open(&list, "/etc/group")) return;
  for (char *line; (line = lines_next(&list));) {
    // name:password:gid:member,member
    char *number = cut_at(line, ':');
    if (number) number = cut_at(number, ':');
    char *members = number ? cut_at(number, ':') : 0;
    if (!members) continue;
    const char *at = number;
    long gid = parse_number(&at, 10);
    for (char *member = members; member && gid >= 0;) {
      char *next = cut_at(member, ',');
      if (!strcmp(member, name)) add_group(user, gid);
      member = next;
    }
  }
  lines_close(&list);
}

int find_user(const char *text, struct user *user) {
  const char *rest = text;
  long uid = parse_number(&rest, 10), gid = -1;
  if (uid >= 0 && *rest == ':') {
    rest++;
    gid = parse_number(&rest, 10);
    if (gid < 0) return EINVAL;
  }
  if (uid >= 0 && *rest) return EINVAL;
  *user = (struct user){.uid = uid, .gid = uid, .home = "/"};
  char name[64];
  int found = 0;
  struct lines list;
  if (lines_open(&list, "/etc/passwd")) {
    for (char *line; !found && (line = lines_next(&list));) found = is_user(line, text, uid, user, name, sizeof name);
    lines_close(&list);
  }
  if (!found && uid < 0) return ENOENT;
  if (gid >= 0) user->gid = gid;
  add_group(user, user->gid);
  if (found) find_groups(name, user);
  else user->group_count = 0;
  return 0;
}
