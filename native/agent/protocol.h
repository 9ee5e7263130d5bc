// What the agent and its host say to each other; src/agent/protocol.ts is the other half, and a test compares the numbers.
//
// A frame is a 32-bit length of what follows, a byte that says what it is, and its payload; numbers are little-endian. A
// connection begins with HELLO either way and then carries requests, one at a time. Strings end in NUL.
//
//   host:  HELLO least u16, most u16 (versions)
//   agent: WELCOME version u16, or ERROR
//   SPAWN  flags u8, rows u16, cols u16, user, cwd, argc u32, arguments, envc u32, variables
//          → STARTED pid u32, or ERROR; then STDOUT and STDERR, EXIT signal u8, code u8, and DONE when there is no more
//          output: others may still have it. Meanwhile
//          STDIN data, STDIN_END, SIGNAL number u8, all u8 (to the process group; SIGKILL, to all that it started), RESIZE rows u16, cols u16, CREDIT stream u8, bytes u32
//   STAT   follow u8, path → STATUS mode, uid, gid, nlink u32, size, ino, mtime, atime, ctime (ns) u64
//   LIST   path → NAMES (type u8, name)… as often as it takes, DONE
//   MKDIR  mode u32, path → DONE; REMOVE path → DONE; RENAME from, to → DONE
//   READ   path → DATA…, DONE
//   WRITE  mode u32, path → DONE; then DATA from the host, and DATA_END → DONE
//   POWEROFF patience u32 (ms, may be absent) → DONE, and the machine goes down; its programs have that long to end by themselves
//   PROBE  port u16 → DONE as soon as a program in the guest listens at that TCP port, of whatever address
//   CONNECT port u16 → DONE when a program that listens at that TCP port on the loopback has taken the connection, or ERROR.
//          From then on this connection carries no frames but the bytes themselves, and each direction ends by itself
//   CLOCK  time u64 (ns since 1970), least u32 (ms) → DONE; the clock is set if it is wrong by more than that
//
// Any of them may be answered by ERROR errno u32 instead of DONE; what is unknown is, with ENOSYS.
#pragma once
#include <stdint.h>

enum { VERSION = 1, PORT = 0x7476, MAX_PAYLOAD = 32768, WINDOW = 65536 };

enum { // from the host
  HELLO = 1, SPAWN, STDIN, STDIN_END, SIGNAL, RESIZE, CREDIT, STAT, LIST, MKDIR, REMOVE, RENAME, READ, WRITE, DATA_END, POWEROFF,
  PROBE, CONNECT, CLOCK,
};
enum { // from the agent
  WELCOME = 128, STARTED, STDOUT, STDERR, EXIT, STDIN_CREDIT, ERROR, DONE, STATUS, NAMES,
};
enum { DATA = 64 }; // either way

enum { SPAWN_PTY = 1 };
