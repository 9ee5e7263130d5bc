/**
 * The part of <linux/io_uring.h> that this project uses: names as in the header, offsets in bytes. A conformance
 * test compares every number here with the header.
 * Runs on: main.
 */

/** System call numbers of x86-64 (asm/unistd_64.h). */
export const SYS = { io_uring_setup: 425, io_uring_enter: 426, io_uring_register: 427 } as const;

export const io_uring_params = {
  size: 120,
  sq_entries: 0,
  cq_entries: 4,
  flags: 8,
  features: 20,
  sq_off: 40,
  cq_off: 80,
} as const;

/** Where, inside the mapped ring, each field lies: 32-bit numbers filled in by the kernel. */
export const io_sqring_offsets = {
  head: 0,
  tail: 4,
  ring_mask: 8,
  ring_entries: 12,
  flags: 16,
  array: 24,
} as const;
export const io_cqring_offsets = {
  head: 0,
  tail: 4,
  ring_mask: 8,
  ring_entries: 12,
  cqes: 20,
  flags: 24,
} as const;

export const io_uring_sqe = {
  size: 64,
  opcode: 0,
  flags: 1,
  fd: 4,
  off: 8,
  addr: 16,
  len: 24,
  rw_flags: 28,
  user_data: 32,
} as const;

export const io_uring_cqe = { size: 16, user_data: 0, res: 8, flags: 12 } as const;

export const iovec = { size: 16, iov_base: 0, iov_len: 8 } as const;

/** enum io_uring_op */
export const OP = {
  IORING_OP_READV: 1,
  IORING_OP_WRITEV: 2,
  IORING_OP_FSYNC: 3,
  IORING_OP_FALLOCATE: 17,
  IORING_OP_READ: 22,
  IORING_OP_WRITE: 23,
} as const;

export const FLAGS = {
  /** Since 5.19: completions wait for this thread's next system call instead of interrupting it. */
  IORING_SETUP_COOP_TASKRUN: 1 << 8,
  /** Since 5.19: IORING_SQ_TASKRUN tells that completions wait. */
  IORING_SETUP_TASKRUN_FLAG: 1 << 9,
  IORING_SQ_TASKRUN: 1 << 2,
  /** Since 6.0: only one thread submits. */
  IORING_SETUP_SINGLE_ISSUER: 1 << 12,
  /** Since 6.1: completions are posted inside io_uring_enter only. */
  IORING_SETUP_DEFER_TASKRUN: 1 << 13,
  IORING_FEAT_SINGLE_MMAP: 1 << 0,
  IORING_FEAT_NODROP: 1 << 1,
  IORING_FEAT_SUBMIT_STABLE: 1 << 2,
  IORING_FEAT_RW_CUR_POS: 1 << 3,
  IORING_ENTER_GETEVENTS: 1 << 0,
  IORING_FSYNC_DATASYNC: 1 << 0,
  IORING_REGISTER_EVENTFD: 4,
  IORING_CQ_EVENTFD_DISABLED: 1 << 0,
  IOSQE_ASYNC: 1 << 4,
  IORING_OFF_SQ_RING: 0,
  IORING_OFF_SQES: 0x1000_0000,
} as const;

/** <linux/falloc.h>. Mode 0 reserves space; PUNCH_HOLE gives it back and wants KEEP_SIZE. */
export const FALLOC_FL = {
  FALLOC_FL_KEEP_SIZE: 0x01,
  FALLOC_FL_PUNCH_HOLE: 0x02,
  FALLOC_FL_ZERO_RANGE: 0x10,
} as const;
