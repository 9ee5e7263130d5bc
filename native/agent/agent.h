// What the parts of the agent share: a session is one connection and the request it carries.
#pragma once
#include <stddef.h>
#include <sys/types.h>
#include "protocol.h"

enum { FRAME_HEADER = 5, MAX_FRAME = FRAME_HEADER + MAX_PAYLOAD, OUT_SIZE = 2 * MAX_FRAME };

// A running program.
struct process {
  pid_t pid;
  int stdin_fd, out_fd[2]; // -1: closed; a pty is stdin_fd and out_fd[0] alike
  uint32_t group; // control group, or 0
  int killed;     // with all that it started
  int pty, reaped, told, status;
  uint32_t credit[2];      // bytes the host will take of stdout and stderr
  uint32_t owed;           // bytes of standard input written and not yet credited
  char *input;             // a ring of WINDOW bytes
  uint32_t input_at, input_len;
  int input_ended;
};

struct session {
  int fd, broken, greeted;
  char *in, *out;          // partial frames of the host; frames that wait for the socket
  size_t in_len, out_len;
  struct process *process;
  int file;                // being read or written, or -1
  int writing;
  void *folder;            // DIR being listed
  int probed;              // the port that is waited for, or 0
  int relaying, peer;      // carries bytes to and from this TCP socket, once it is no longer CONNECTING
  int host_ended, host_gone, peer_ended;
  struct session *next;
};

// frames.c
// Room for one more frame of any size: every answer fits then.
int has_room(struct session *s);
void send_frame(struct session *s, int type, const void *payload, size_t length);
void send_error(struct session *s, int error);
void done(struct session *s);
void receive(struct session *s);     // what the socket has
void read_frames(struct session *s); // as far as there is room for answers
void transmit(struct session *s);    // what waits for the socket

// A payload that is read from front to back; `bad` once it was too short.
struct reader {
  const char *at, *end;
  int bad;
};
uint32_t take_number(struct reader *r, int bytes);
const char *take_string(struct reader *r);

// agent.c
void message(struct session *s, int type, struct reader *r);

// spawn.c
void spawn(struct session *s, struct reader *r);

// process.c
void process_message(struct session *s, int type, struct reader *r);
void process_reaped(struct session *s, int status);
void process_output(struct session *s, int which);
void process_input(struct session *s);
void process_finished(struct session *s); // tells of its end, and of the end of its output
void process_kill(struct session *s);

// tree.c
void kill_everything(pid_t root, uint32_t group);

// group.c
int group_make(uint32_t *number); // @returns its folder, or -1 when there are no groups
void group_kill(uint32_t number);
void group_forget(uint32_t number, int killed); // its program has ended
void groups_sweep(void);            // a process has ended that nobody waits for

// files.c
void file_request(struct session *s, int type, struct reader *r);
void file_data(struct session *s, struct reader *r);
void file_data_end(struct session *s);
void file_continue(struct session *s); // more of READ or LIST
void file_close(struct session *s);

// relay.c
enum { NO_RELAY, CONNECTING, RELAYING };
struct pollfd;
void relay_connect(struct session *s, struct reader *r);
void relay_watch(struct session *s, struct pollfd *socket, struct pollfd *write_peer, struct pollfd *read_peer);
void relay_serve(struct session *s, int socket, int write_peer, int read_peer); // poll's revents
void relay_close(struct session *s);

// probe.c
void probe_request(struct session *s, struct reader *r);
void probe_look(struct session *sessions); // answers those whose port is listened at

// clock.c
void clock_request(struct session *s, struct reader *r);

// boot.c
void boot_as_init(void);
enum { LAST_WORDS_MS = 1500 }; // unless the host says otherwise: old ones wait for 5 s in all
void power_off(uint32_t patience); // ms for programs to end by themselves
