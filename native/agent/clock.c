// The wall clock, which a guest that was paused for long, or whose host slept, may have wrong.
#include <errno.h>
#include <time.h>
#include "agent.h"

enum { SECOND = 1000000000 };

void clock_request(struct session *s, struct reader *r) {
  uint64_t low = take_number(r, 4), high = take_number(r, 4), least = take_number(r, 4);
  uint64_t wanted = high << 32 | low;
  struct timespec now;
  if (r->bad || wanted >> 63) {
    send_error(s, EINVAL);
    return;
  }
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t actual = (uint64_t)now.tv_sec * SECOND + now.tv_nsec;
  uint64_t wrong = actual > wanted ? actual - wanted : wanted - actual;
  struct timespec right = {.tv_sec = wanted / SECOND, .tv_nsec = wanted % SECOND};
  // A clock that is about right is left to whoever keeps it.
  if (wrong > least * 1000000 && clock_settime(CLOCK_REALTIME, &right)) send_error(s, errno);
  else done(s);
}
