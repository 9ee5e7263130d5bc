/*
 * stream: moves the command's bytes inside the rig's machine.
 *
 *   stream copy FROM TO              copies until FROM ends, then prints how many bytes it were: the rig waits for as many.
 *                                    SIGTERM ends it early, after what FROM holds at that moment (a process the command
 *                                    left behind may keep FROM open for ever).
 *   stream run CMD...                runs CMD in a session of its own.
 *   stream pty ROWS COLUMNS CMD...   runs CMD on a new terminal that is connected to standard input and output.
 *                                    Its status is the command's, 128+N if signal N killed it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static char buffer[65536];

static void write_all(int to, const char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t done = write(to, bytes, count);

		if (done < 0 && errno != EINTR)
			err(1, "write");
		if (done > 0) {
			bytes += done;
			count -= done;
		}
	}
}

/* A descriptor that becomes readable when `signal` comes, which is blocked from now on. */
static int signal_descriptor(int signal)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, signal);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		err(1, "signalfd");
	return fd;
}

static int copy(const char *from_path, const char *to_path)
{
	int from = open(from_path, O_RDONLY), to = open(to_path, O_WRONLY);
	unsigned long long total = 0;
	struct pollfd fds[2];

	if (from < 0 || to < 0)
		err(1, "%s or %s", from_path, to_path);
	fds[0] = (struct pollfd){ .fd = from, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = signal_descriptor(SIGTERM), .events = POLLIN };
	for (;;) {
		bool asked_to_end, ready;
		ssize_t count;

		if (poll(fds, 2, -1) < 0)
			err(1, "poll");
		asked_to_end = fds[1].revents != 0;
		ready = fds[0].revents != 0;
		if (!ready && asked_to_end)
			break;
		count = read(from, buffer, sizeof buffer);
		if (count <= 0)
			break;
		write_all(to, buffer, count);
		total += count;
	}
	printf("%llu\n", total);
	return 0;
}

/* End of input, as a terminal in line mode knows it; a program in raw mode has no such thing. */
static void end_input(int terminal)
{
	struct termios modes;

	if (tcgetattr(terminal, &modes) == 0 && (modes.c_lflag & ICANON))
		write_all(terminal, (char *)&modes.c_cc[VEOF], 1);
}

/* Moves what there is; false at the end of `from`. A terminal whose last user left ends with EIO. */
static bool move(int from, int to)
{
	ssize_t count = read(from, buffer, sizeof buffer);

	if (count > 0)
		write_all(to, buffer, count);
	return count > 0;
}

/* The shell that started us ignores the interrupt on behalf of its background jobs; a command would inherit that. */
static void execute(char **command)
{
	sigset_t none;
	int number;

	for (number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(command[0], command);
	err(127, "%s", command[0]);
}

static int pty(unsigned short rows, unsigned short columns, char **command)
{
	struct winsize size = { .ws_row = rows, .ws_col = columns };
	int terminal, status;
	pid_t child = forkpty(&terminal, NULL, NULL, &size);
	struct pollfd fds[3];

	if (child < 0)
		err(1, "forkpty");
	if (child == 0)
		execute(command);
	fds[0] = (struct pollfd){ .fd = terminal, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = signal_descriptor(SIGCHLD), .events = POLLIN };
	while (waitpid(child, &status, WNOHANG) == 0) {
		if (poll(fds, 3, -1) < 0)
			err(1, "poll");
		if (fds[0].revents && !move(terminal, STDOUT_FILENO))
			fds[0].fd = -1; /* nobody has it open; the child may live on without */
		if (fds[1].revents && !move(STDIN_FILENO, terminal)) {
			fds[1].fd = -1;
			end_input(terminal);
		}
	}
	/* What the command wrote before it ended is in the terminal by now. */
	while (poll(fds, 1, 0) > 0 && move(terminal, STDOUT_FILENO))
		;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "copy") == 0)
		return copy(argv[2], argv[3]);
	if (argc >= 3 && strcmp(argv[1], "run") == 0) {
		setsid();
		execute(argv + 2);
	}
	if (argc >= 5 && strcmp(argv[1], "pty") == 0)
		return pty(atoi(argv[2]), atoi(argv[3]), argv + 4);
	errx(2, "usage: stream copy FROM TO | stream run COMMAND... | stream pty ROWS COLUMNS COMMAND...");
}
