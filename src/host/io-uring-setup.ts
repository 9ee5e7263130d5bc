/**
 * Sets up an io_uring by hand (io_uring_setup(2)): the rings, the entries and a place for lists of buffers, mapped; an
 * eventfd that tells of completions. io-uring.ts works with them.
 * Runs on: the thread that will submit, and no other (IORING_SETUP_SINGLE_ISSUER).
 */
import { HostError } from '../base/errors.js';
import { Resources } from '../base/resources.js';
import { Fd } from './fd.js';
import {
  FLAGS,
  io_cqring_offsets,
  io_sqring_offsets,
  io_uring_cqe,
  io_uring_params,
  io_uring_sqe,
  iovec,
} from './io-uring-abi.js';
import { errnoName, errnoNumber, eventfd, ioUringEnter, ioUringRegister, ioUringSetup } from './libc.js';
import { Mapping } from './mapping.js';

/** Words of one ring; the indices run freely and wrap at 2^32. */
export interface Ring {
  readonly head: Uint32Array;
  readonly tail: Uint32Array;
  readonly flags: Uint32Array;
  readonly mask: number;
}

export interface Rings extends Disposable {
  readonly fd: number;
  /** Readable while there are completions that nobody was told of. */
  readonly bell: number;
  readonly sq: Ring;
  readonly cq: Ring;
  /** Words of the submission entries, and of the completion entries. */
  readonly sqes: Uint32Array;
  readonly cqes: Int32Array;
  /** Words of `struct iovec`s, and where they lie. */
  readonly iovecs: Uint32Array;
  readonly iovecsAt: number;
  /** Completions are posted inside io_uring_enter only. */
  readonly deferred: boolean;
}

const DEFERRED =
  FLAGS.IORING_SETUP_SINGLE_ISSUER | FLAGS.IORING_SETUP_DEFER_TASKRUN | FLAGS.IORING_SETUP_TASKRUN_FLAG;
/** Newest first. Older kernels answer EINVAL to flags they do not know. */
const SETUP_FLAGS = [DEFERRED, FLAGS.IORING_SETUP_COOP_TASKRUN, 0];
/** SUBMIT_STABLE (5.5): iovecs are read at submission. RW_CUR_POS came with IORING_OP_READ and FALLOCATE (5.6). */
const NEEDED =
  FLAGS.IORING_FEAT_SINGLE_MMAP |
  FLAGS.IORING_FEAT_NODROP |
  FLAGS.IORING_FEAT_SUBMIT_STABLE |
  FLAGS.IORING_FEAT_RW_CUR_POS;

/**
 * @param depth entries, a power of two
 * @param iovecs how many fit into the lists of buffers
 * @throws HostError ENOSYS or EPERM where io_uring is missing or barred (sysctl, seccomp, an old kernel)
 */
export function openRings(depth: number, iovecs: number): Rings {
  const params = new DataView(new ArrayBuffer(io_uring_params.size));
  const resources = new Resources();
  const fd = resources.use(new Fd(setUp(depth, params), 'io_uring')).number;
  try {
    if ((params.getUint32(io_uring_params.features, true) & NEEDED) !== NEEDED) {
      throw new HostError('io_uring is too old here', 'io_uring_setup', errnoNumber('ENOSYS'), 'ENOSYS');
    }
    const bell = resources.use(new Fd(eventfd(), 'io_uring eventfd')).number;
    const descriptor = new Uint8Array(Int32Array.of(bell).buffer);
    check('io_uring_register', ioUringRegister(fd, FLAGS.IORING_REGISTER_EVENTFD, descriptor));
    // A filter may bar this call alone.
    check('io_uring_enter', ioUringEnter(fd, 0, 0, 0));
    return map(fd, bell, params, iovecs, resources);
  } catch (error) {
    resources[Symbol.dispose]();
    throw error;
  }
}

function setUp(depth: number, params: DataView): number {
  let fd = 0;
  for (const flags of SETUP_FLAGS) {
    const bytes = new Uint8Array(params.buffer).fill(0);
    params.setUint32(io_uring_params.flags, flags, true);
    fd = ioUringSetup(depth, bytes);
    if (fd !== -errnoNumber('EINVAL')) break;
  }
  return check('io_uring_setup', fd);
}

function check(syscall: string, result: number): number {
  if (result >= 0) return result;
  throw new HostError(`${syscall}: ${errnoName(-result)}`, syscall, -result, errnoName(-result));
}

function map(fd: number, bell: number, params: DataView, iovecCount: number, resources: Resources): Rings {
  const field = (base: number, name: number): number => params.getUint32(base + name, true);
  const { sq_off, cq_off } = io_uring_params;
  const cqEntries = field(io_uring_params.cq_entries, 0);
  const sqEntries = field(io_uring_params.sq_entries, 0);
  const arrayAt = field(sq_off, io_sqring_offsets.array);
  const cqesAt = field(cq_off, io_cqring_offsets.cqes);
  // IORING_FEAT_SINGLE_MMAP: both rings are one mapping, as long as the longer needs.
  const length = Math.max(arrayAt + 4 * sqEntries, cqesAt + io_uring_cqe.size * cqEntries);
  const ring = resources.use(Mapping.shared(fd, length, FLAGS.IORING_OFF_SQ_RING)).view().buffer;
  const sqes = resources.use(Mapping.shared(fd, io_uring_sqe.size * sqEntries, FLAGS.IORING_OFF_SQES));
  const iovecs = resources.use(Mapping.anonymous(iovec.size * iovecCount));
  const word = (base: number, name: number): Uint32Array => new Uint32Array(ring, field(base, name), 1);
  const ringAt = (base: number, at: typeof io_sqring_offsets | typeof io_cqring_offsets): Ring => ({
    head: word(base, at.head),
    tail: word(base, at.tail),
    flags: word(base, at.flags),
    mask: word(base, at.ring_mask)[0]!,
  });
  // The indirection from ring slot to entry is of no use here: slot n always holds entry n.
  new Uint32Array(ring, arrayAt, sqEntries).forEach((_, index, array) => {
    array[index] = index;
  });
  return {
    fd,
    bell,
    sq: ringAt(sq_off, io_sqring_offsets),
    cq: ringAt(cq_off, io_cqring_offsets),
    sqes: new Uint32Array(sqes.view().buffer),
    cqes: new Int32Array(ring, cqesAt, (io_uring_cqe.size / 4) * cqEntries),
    iovecs: new Uint32Array(iovecs.view().buffer),
    iovecsAt: iovecs.address,
    deferred: (field(io_uring_params.flags, 0) & FLAGS.IORING_SETUP_DEFER_TASKRUN) !== 0,
    [Symbol.dispose]: () => resources[Symbol.dispose](),
  };
}
