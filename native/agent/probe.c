// Whether a program listens at a TCP port. Read from the kernel's own list: a connection made to find out would be taken by a server as one.
#include <errno.h>
#include <string.h>
#include "agent.h"
#include "lines.h"

enum { LISTENING = 0x0a };

// Those who listen come first in the list, so it is not read to its end on a machine with many connections.
static int listed(const char *path, long wanted) {
  static struct lines list;
  if (!lines_open(&list, path)) return 0;
  int found = 0;
  lines_next(&list); // the headings
  for (char *line; !found && (line = lines_next(&list));) {
    //   sl  local_address rem_address   st …
    //    0: 0100007F:1F90 00000000:0000 0A …
    char *address = cut_at(line, ':'), *port = address ? cut_at(address, ':') : 0;
    char *peer = port ? cut_at(port, ' ') : 0;
    const char *state = peer ? cut_at(peer, ' ') : 0, *number = port;
    if (!state || parse_number(&state, 16) != LISTENING) break;
    found = parse_number(&number, 16) == wanted;
  }
  lines_close(&list);
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
