/*
 * A host's end of the agent's protocol (native/agent/protocol.h) over the host's own AF_VSOCK, which is vhost's way: runs
 * /bin/busybox true in the guest, a connection for each, one after the other.
 *   agent-exec CID COUNT        prints "N execs in M us"; waits a minute for the agent
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>
#include "../../../native/agent/protocol.h"
#include "timing.h"

static int dial(unsigned cid)
{
  struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = PORT };
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

static void get(int fd, void *into, size_t length)
{
  for (size_t done = 0; done < length;) {
    ssize_t count = read(fd, (char *)into + done, length - done);
    if (count <= 0) die("read");
    done += count;
  }
}

/* The payload is thrown away. @returns the frame's type */
static unsigned frame(int fd)
{
  static char payload[MAX_PAYLOAD];
  unsigned char head[5];
  uint32_t length;
  get(fd, head, sizeof head);
  memcpy(&length, head, sizeof length);
  if (length < 1 || length > MAX_PAYLOAD + 1) exit(1);
  get(fd, payload, length - 1);
  return head[4];
}

_Static_assert(HELLO == 1 && SPAWN == 2 && CREDIT == 7, "what the message below says");

static void once(int fd)
{
  /* HELLO; SPAWN with flags, size, user, folder, two arguments and no variables; CREDIT for either output, without which no end is seen */
  static const char message[] =
    "\5\0\0\0\1" "\1\0" "\1\0"
    "\42\0\0\0\2" "\0" "\0\0" "\0\0" "\0" "\0" "\2\0\0\0" "/bin/busybox\0" "true\0" "\0\0\0\0"
    "\6\0\0\0\7" "\0" "\0\0\4\0"
    "\6\0\0\0\7" "\1" "\0\0\4";
  if (write(fd, message, sizeof message) != sizeof message) die("write");
  for (unsigned type = 0; type != DONE;) {
    type = frame(fd);
    if (type == ERROR) exit(3);
  }
  close(fd);
}

int main(int argc, char **argv)
{
  if (argc != 3) return 2;
  unsigned cid = atoi(argv[1]);
  int count = atoi(argv[2]);
  int fd;
  for (int tries = 0; (fd = dial(cid)) < 0; tries++) {
    if (tries == 300) die("connect");
    usleep(200000);
  }
  once(fd);
  long long start = now_us();
  for (int done = 0; done < count; done++) {
    if ((fd = dial(cid)) < 0) die("connect");
    once(fd);
  }
  printf("%d execs in %lld us\n", count, now_us() - start);
  return 0;
}
