/** The numbers of the agent's protocol. native/agent/protocol.h, which describes it, is the other half; a test compares them. */

export const VERSION = 1;
/** The vsock port in the guest. */
export const PORT = 0x7476;
/** Largest payload of a frame, bytes. */
export const MAX_PAYLOAD = 32768;
/** Bytes of standard input that may be on their way to a program. */
export const WINDOW = 65536;

/** What the host says. */
export const REQUEST = {
  HELLO: 1,
  SPAWN: 2,
  STDIN: 3,
  STDIN_END: 4,
  SIGNAL: 5,
  RESIZE: 6,
  CREDIT: 7,
  STAT: 8,
  LIST: 9,
  MKDIR: 10,
  REMOVE: 11,
  RENAME: 12,
  READ: 13,
  WRITE: 14,
  DATA_END: 15,
  POWEROFF: 16,
  PROBE: 17,
  CONNECT: 18,
  CLOCK: 19,
} as const;

/** What the agent says. */
export const ANSWER = {
  WELCOME: 128,
  STARTED: 129,
  STDOUT: 130,
  STDERR: 131,
  EXIT: 132,
  STDIN_CREDIT: 133,
  ERROR: 134,
  DONE: 135,
  STATUS: 136,
  NAMES: 137,
} as const;

/** Said by either: a piece of a file. */
export const DATA = 64;

export const SPAWN_PTY = 1;
