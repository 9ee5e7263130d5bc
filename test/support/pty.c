/*
 * Runs a command on a new terminal of its own: pty COMMAND…. Standard input is what is typed, standard output what the
 * terminal shows. On descriptor 3 it writes the terminal's path, and `exit N` or `signal N` when the command has ended; the
 * terminal itself stays until standard input ends, so that its mode can still be looked at.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

static int pass(int from, int to) {
  char bytes[4096];
  ssize_t count = read(from, bytes, sizeof bytes);
  if (count <= 0) return 0;
  for (ssize_t done = 0; done < count;) {
    ssize_t now = write(to, bytes + done, count - done);
    if (now < 0) return 0;
    done += now;
  }
  return 1;
}

int main(int argc, char **argv) {
  int master, slave;
  char name[128];
  if (argc < 2 || openpty(&master, &slave, name, NULL, NULL) < 0) return 125;
  dprintf(3, "%s\n", name);
  pid_t child = fork();
  if (child == 0) {
    close(master);
    close(3);
    if (login_tty(slave) < 0) _exit(126);
    execvp(argv[1], argv + 1);
    _exit(127);
  }
  struct pollfd fds[] = {{.fd = 0, .events = POLLIN}, {.fd = master, .events = POLLIN}};
  for (int running = 1;;) {
    poll(fds, 2, 20);
    if (fds[1].revents & POLLIN) pass(master, 1);
    if (fds[0].revents && !pass(0, master)) break;
    int status;
    if (running && waitpid(child, &status, WNOHANG) == child) {
      running = 0;
      if (WIFEXITED(status)) dprintf(3, "exit %d\n", WEXITSTATUS(status));
      else dprintf(3, "signal %d\n", WTERMSIG(status));
    }
  }
  /* What closing a terminal window does: its session's leader gets SIGHUP. */
  close(slave);
  close(master);
  return 0;
}
