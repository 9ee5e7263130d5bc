/*
 * stopwatch [-k] PATTERN LIMIT_MS COMMAND…: starts a command and prints, in nanoseconds since just before its start, when
 * PATTERN was first complete on its standard output and when it had ended, and its CPU time until then; then its exit status. -k kills it once the pattern
 * was seen, for commands that never end by themselves. "-" is no pattern. A number that was not reached is -1.
 *
 * A program of its own, because Node needs milliseconds to start a child and to hear of its end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long nanoseconds(struct timeval t)
{
	return t.tv_sec * 1000000000LL + t.tv_usec * 1000LL;
}

static void die(const char *what)
{
	perror(what);
	exit(125);
}

int main(int argc, char **argv)
{
	static char seen[1 << 20];
	size_t length = 0;
	long long start, found = -1, limit;
	int kill_after = 0, output[2], status;
	const char *pattern;
	struct rusage usage;
	pid_t child;

	if (argc > 1 && !strcmp(argv[1], "-k")) {
		kill_after = 1;
		argv++;
		argc--;
	}
	if (argc < 4) {
		fprintf(stderr, "usage: stopwatch [-k] PATTERN LIMIT_MS COMMAND...\n");
		return 125;
	}
	pattern = strcmp(argv[1], "-") ? argv[1] : NULL;
	limit = atoll(argv[2]) * 1000000LL;
	if (pipe2(output, O_CLOEXEC))
		die("pipe");

	start = now();
	child = vfork();
	if (child < 0)
		die("vfork");
	if (child == 0) {
		dup2(output[1], 1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[3], argv + 3);
		_exit(127);
	}
	close(output[1]);

	for (;;) {
		struct pollfd wait = { .fd = output[0], .events = POLLIN };
		long long left = (start + limit - now()) / 1000000;
		ssize_t got;

		if (left <= 0 || poll(&wait, 1, left) <= 0) {
			kill(child, SIGKILL);
			break;
		}
		if (length == sizeof seen - 1)
			length = 0;
		got = read(output[0], seen + length, sizeof seen - 1 - length);
		if (got <= 0)
			break;
		length += got;
		seen[length] = 0;
		if (found < 0 && pattern && memmem(seen, length, pattern, strlen(pattern))) {
			found = now() - start;
			if (kill_after) {
				kill(child, SIGKILL);
				break;
			}
		}
	}
	while (wait4(child, &status, 0, &usage) < 0)
		if (errno != EINTR)
			die("wait4");
	printf("%lld %lld %lld %d\n", found, now() - start, nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime),
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}
