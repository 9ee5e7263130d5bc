// What programs that time something share.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void die(const char *what)
{
  perror(what);
  exit(1);
}

static long long now_us(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}
