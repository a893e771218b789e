// Preloaded: a clock that stands a day before, a day after, and so on.
#include <time.h>

time_t time(time_t *out) {
  static int calls;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const time_t result = now.tv_sec + (++calls % 2 ? -86400 : 86400);
  if (out)
    *out = result;
  return result;
}
