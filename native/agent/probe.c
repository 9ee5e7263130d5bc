// Whether a program listens at a TCP port. Read from the kernel's own list: a connection made to find out would be taken by a server as one.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent.h"

enum { LISTENING = 0x0a };

// Those who listen come first in the list, so it is not read to its end on a machine with many connections.
static int listed(const char *path, unsigned wanted) {
  FILE *list = fopen(path, "re");
  if (!list) return 0;
  char line[512];
  unsigned port, state;
  int found = 0;
  if (!fgets(line, sizeof line, list)) line[0] = 0; // the headings
  while (!found && fgets(line, sizeof line, list)) {
    //   sl  local_address rem_address   st …
    //    0: 0100007F:1F90 00000000:0000 0A …
    if (sscanf(line, " %*[^:]: %*[^:]:%x %*s %x", &port, &state) != 2 || state != LISTENING) break;
    found = port == wanted;
  }
  fclose(list);
  return found;
}

static void look(struct session *s) {
  if (!has_room(s) || !(listed("/proc/net/tcp", s->probed) || listed("/proc/net/tcp6", s->probed))) return;
  s->probed = 0;
  done(s);
  transmit(s);
}

void probe_request(struct session *s, struct reader *r) {
  uint32_t port = take_number(r, 2);
  if (r->bad || !port) {
    send_error(s, EINVAL);
    return;
  }
  s->probed = port;
  look(s);
}

void probe_look(struct session *sessions) {
  for (struct session *s = sessions; s; s = s->next)
    if (s->probed && !s->broken) look(s);
}
