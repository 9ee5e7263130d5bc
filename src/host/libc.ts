/**
 * Every foreign function this process calls through the FFI (koffi), each with a fixed signature. koffi is
 * imported here and nowhere else. Buffers pass as pointers that live for one call; memory that outlives a
 * call passes as a number.
 * Runs on: main.
 */
import koffi from 'koffi';
import { HostError, type VmmErrorCode } from '../base/errors.js';
import { SYS } from './io-uring-abi.js';

// The process's own symbols: finding libc by its file name costs 3 ms more.
const libc = koffi.load(null);
type NativeFunction = ReturnType<typeof libc.func>;

/**
 * Declares each function when it is first used: koffi takes a tenth of a millisecond for one, and most processes need
 * half of them.
 */
function declare<K extends string>(
  signatures: Readonly<Record<K, readonly [name: string, result: string, parameters: string[]]>>,
): Readonly<Record<K, NativeFunction>> {
  const functions = {} as Record<K, NativeFunction>;
  for (const key in signatures) {
    Object.defineProperty(functions, key, {
      configurable: true,
      get() {
        const [name, result, parameters] = signatures[key];
        const value = libc.func(name, result, parameters);
        Object.defineProperty(functions, key, { value });
        return value;
      },
    });
  }
  return functions;
}

const raw = declare({
  open: ['open', 'int', ['str', 'int', 'int']],
  close: ['close', 'int', ['int']],
  ioctl: ['ioctl', 'int', ['int', 'ulong', 'uintptr_t']],
  ioctlBuffer: ['ioctl', 'int', ['int', 'ulong', 'void *']],
  mmap: ['mmap', 'int64_t', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'int64_t']],
  munmap: ['munmap', 'int', ['uintptr_t', 'size_t']],
  madvise: ['madvise', 'int', ['uintptr_t', 'size_t', 'int']],
  eventfd: ['eventfd', 'int', ['uint', 'int']],
  write: ['write', 'int64_t', ['int', 'void *', 'size_t']],
  getrandom: ['getrandom', 'int64_t', ['void *', 'size_t', 'uint']],
  preadAt: ['pread', 'int64_t', ['int', 'uintptr_t', 'size_t', 'int64_t']],
  fallocate: ['fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t']],
  fcntl: ['fcntl', 'int', ['int', 'int', 'void *']],
  fcntlNumber: ['fcntl', 'int', ['int', 'int', 'int']],
  socket: ['socket', 'int', ['int', 'int', 'int']],
  readv: ['readv', 'int64_t', ['int', 'uintptr_t', 'int']],
  writev: ['writev', 'int64_t', ['int', 'uintptr_t', 'int']],
  preadv2: ['preadv2', 'int64_t', ['int', 'uintptr_t', 'int', 'int64_t', 'int']],
  statx: ['statx', 'int', ['int', 'str', 'int', 'uint', 'void *']],
  ioUringSetup: ['syscall', 'int64_t', ['int64_t', 'uint', 'void *']],
  ioUringRegister: ['syscall', 'int64_t', ['int64_t', 'int', 'uint', 'void *', 'uint']],
  ioUringEnter: ['syscall', 'int64_t', ['int64_t', 'int', 'uint', 'uint', 'uint', 'uintptr_t', 'size_t']],
});

const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(koffi.os.errno).map(([name, value]) => [value, name]),
);

/** `EBUSY`, or the number in words when the platform has no name for it. */
export const errnoName = (errno: number): string => ERRNO_NAMES.get(errno) ?? `errno ${errno}`;

/** The number behind a name: `errnoNumber('EIO')` is 5. */
export const errnoNumber = (name: string): number => (koffi.os.errno as Record<string, number>)[name] ?? 0;

/** What failed and how, for a message such as `KVM_CREATE_VCPU: EEXIST`. */
export function systemError(syscall: string, errno = koffi.errno(), code?: VmmErrorCode): HostError {
  const name = errnoName(errno);
  return new HostError(`${syscall}: ${name}`, syscall, errno, name, code === undefined ? {} : { code });
}

/** Passes a result through. @throws HostError with the current errno when it is negative */
function checked(syscall: string, result: number): number {
  if (result < 0) throw systemError(syscall);
  return result;
}

export const PROT = { NONE: 0, READ: 1, WRITE: 2 } as const;
export const MAP = {
  SHARED: 0x1,
  PRIVATE: 0x2,
  ANONYMOUS: 0x20,
  NORESERVE: 0x4000,
  HUGETLB: 0x4_0000,
  HUGE_2MB: 21 << 26,
} as const;
export const MADV = { HUGEPAGE: 14, NOHUGEPAGE: 15, DONTDUMP: 16 } as const;
export const O = { RDONLY: 0, RDWR: 2, NONBLOCK: 0o4000, CLOEXEC: 0o2000000 } as const;
export const EFD = { CLOEXEC: 0o2000000, NONBLOCK: 0o4000 } as const;

export function open(path: string, flags: number): number {
  return checked(`open ${path}`, raw.open(path, flags | O.CLOEXEC, 0) as number);
}

/** Never throws: a descriptor is gone after close() whatever it returns (close(2), "Dealing with error returns"). */
export function close(fd: number): void {
  raw.close(fd);
}

/** An ioctl whose argument is a number or nothing. @param what the name for error messages */
export function ioctl(what: string, fd: number, request: number, argument: number | bigint = 0): number {
  return checked(what, raw.ioctl(fd, request, argument) as number);
}

/** An ioctl whose argument is a struct that the kernel reads, fills, or both, during the call. */
export function ioctlBuffer(what: string, fd: number, request: number, argument: Uint8Array): number {
  return checked(what, raw.ioctlBuffer(fd, request, argument) as number);
}

/** The same, but a failure is returned as a negative errno, for callers that expect some. */
export function tryIoctlBuffer(fd: number, request: number, argument: Uint8Array): number {
  const result = raw.ioctlBuffer(fd, request, argument) as number;
  return result < 0 ? -koffi.errno() : result;
}

/** @returns the address, a positive safe integer on x86-64 Linux user space (47 bits) */
export function mmap(length: number, protection: number, flags: number, fd = -1, offset = 0): number {
  return checked('mmap', Number(raw.mmap(0, length, protection, flags, fd, offset)));
}

export function munmap(address: number, length: number): void {
  checked('munmap', raw.munmap(address, length) as number);
}

export function madvise(address: number, length: number, advice: number): void {
  checked('madvise', raw.madvise(address, length, advice) as number);
}

/** A non-blocking eventfd counter. */
export function eventfd(): number {
  return checked('eventfd', raw.eventfd(0, EFD.CLOEXEC | EFD.NONBLOCK) as number);
}

const one = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);

/** Adds one to an eventfd. Its counter is 64 bits: it cannot fill up here. */
export function signalEventfd(fd: number): void {
  checked('write eventfd', Number(raw.write(fd, one, 8)));
}

/** Fills `bytes` with the kernel's random numbers, without loading node:crypto, which takes a tenth of the command's start. */
export function randomBytes(bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    // Above 256 bytes a signal may cut it short (getrandom(2)).
    const rest = done === 0 ? bytes : bytes.subarray(done);
    done += checked('getrandom', Number(raw.getrandom(rest, rest.length, 0)));
  }
}

/** pread() straight to an address: file bytes into guest memory without a copy. @returns bytes read, 0 at the end */
export function preadAt(fd: number, address: number, length: number, offset: number): number {
  return checked('pread', Number(raw.preadAt(fd, address, length, offset)));
}

/** fallocate() on libuv's pool. `done` gets 0 or a negative errno. */
export function fallocateAsync(
  fd: number,
  mode: number,
  offset: number,
  length: number,
  done: (result: number) => void,
): void {
  raw.fallocate.async(fd, mode, offset, length, (error: unknown, result: number) => {
    // errno belongs to the pool's thread. A call that failed there fails here as well, at once, and says why.
    const failed = (error || result !== 0) && (raw.fallocate(fd, mode, offset, length) as number) < 0;
    done(failed ? -koffi.errno() : 0);
  });
}

/** Lets reads and writes of an open descriptor return EAGAIN instead of waiting. */
export function setNonblocking(fd: number): void {
  const [F_GETFL, F_SETFL] = [3, 4];
  const flags = checked('fcntl', raw.fcntlNumber(fd, F_GETFL, 0) as number);
  checked('fcntl', raw.fcntlNumber(fd, F_SETFL, flags | O.NONBLOCK) as number);
}

/** socket(2). @returns a descriptor */
export function socket(domain: number, type: number, protocol: number): number {
  return checked('socket', raw.socket(domain, type, protocol) as number);
}

/** readv(2). @param iovecs address of an array of struct iovec @returns bytes, or a negative errno */
export function tryReadv(fd: number, iovecs: number, count: number): number {
  const result = Number(raw.readv(fd, iovecs, count));
  return result < 0 ? -koffi.errno() : result;
}

/** preadv2(2). @param iovecs as readv's @param flags RWF_* @returns bytes, or a negative errno */
export function tryPreadv2(fd: number, iovecs: number, count: number, offset: number, flags: number): number {
  const result = Number(raw.preadv2(fd, iovecs, count, offset, flags));
  return result < 0 ? -koffi.errno() : result;
}

/** writev(2). @param iovecs address of an array of struct iovec @returns bytes, or a negative errno */
export function tryWritev(fd: number, iovecs: number, count: number): number {
  const result = Number(raw.writev(fd, iovecs, count));
  return result < 0 ? -koffi.errno() : result;
}

/** fcntl() whose argument is a struct. @returns 0, or a negative errno */
export function tryFcntl(fd: number, command: number, argument: Uint8Array): number {
  const result = raw.fcntl(fd, command, argument) as number;
  return result < 0 ? -koffi.errno() : result;
}

/** statx() of an open file. @returns 0, or a negative errno */
export function tryStatx(fd: number, mask: number, into: Uint8Array): number {
  const AT_EMPTY_PATH = 0x1000;
  const result = raw.statx(fd, '', AT_EMPTY_PATH, mask, into) as number;
  return result < 0 ? -koffi.errno() : 0;
}

/** io_uring_setup(2). @returns the ring's descriptor (close-on-exec by itself), or a negative errno */
export function ioUringSetup(entries: number, params: Uint8Array): number {
  const result = Number(raw.ioUringSetup(SYS.io_uring_setup, entries, params));
  return result < 0 ? -koffi.errno() : result;
}

/** io_uring_enter(2) without a signal mask. @returns entries taken, or a negative errno */
export function ioUringEnter(fd: number, toSubmit: number, minComplete: number, flags: number): number {
  const result = Number(raw.ioUringEnter(SYS.io_uring_enter, fd, toSubmit, minComplete, flags, 0, 0));
  return result < 0 ? -koffi.errno() : result;
}

/** io_uring_register(2) with one argument of the given kind. @returns 0, or a negative errno */
export function ioUringRegister(fd: number, opcode: number, argument: Uint8Array): number {
  const result = Number(raw.ioUringRegister(SYS.io_uring_register, fd, opcode, argument, 1));
  return result < 0 ? -koffi.errno() : result;
}
