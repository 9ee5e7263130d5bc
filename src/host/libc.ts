/**
 * Every foreign function this process calls through the FFI (koffi), each with a fixed signature. koffi is
 * imported here and nowhere else. Buffers pass as pointers that live for one call; memory that outlives a
 * call passes as a number.
 * Runs on: main.
 */
import koffi from 'koffi';
import { HostError, type VmmErrorCode } from '../base/errors.js';

// The process's own symbols: finding libc by its file name costs 3 ms more.
const libc = koffi.load(null);

const raw = {
  open: libc.func('open', 'int', ['str', 'int', 'int']),
  close: libc.func('close', 'int', ['int']),
  ioctl: libc.func('ioctl', 'int', ['int', 'ulong', 'uintptr_t']),
  ioctlBuffer: libc.func('ioctl', 'int', ['int', 'ulong', 'void *']),
  mmap: libc.func('mmap', 'int64_t', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'int64_t']),
  munmap: libc.func('munmap', 'int', ['uintptr_t', 'size_t']),
  madvise: libc.func('madvise', 'int', ['uintptr_t', 'size_t', 'int']),
  eventfd: libc.func('eventfd', 'int', ['uint', 'int']),
  read: libc.func('read', 'int64_t', ['int', 'void *', 'size_t']),
  write: libc.func('write', 'int64_t', ['int', 'void *', 'size_t']),
  preadAt: libc.func('pread', 'int64_t', ['int', 'uintptr_t', 'size_t', 'int64_t']),
} as const;

const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(koffi.os.errno).map(([name, value]) => [value, name]),
);

/** `EBUSY`, or the number in words when the platform has no name for it. */
export const errnoName = (errno: number): string => ERRNO_NAMES.get(errno) ?? `errno ${errno}`;

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
export const O = { RDONLY: 0, RDWR: 2, CLOEXEC: 0o2000000 } as const;
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

const eight = new Uint8Array(8);
const one = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);

/** Adds one to an eventfd. Its counter is 64 bits: it cannot fill up here. */
export function signalEventfd(fd: number): void {
  checked('write eventfd', Number(raw.write(fd, one, 8)));
}

/** Takes an eventfd's count; false when it was zero. */
export function drainEventfd(fd: number): boolean {
  return Number(raw.read(fd, eight, 8)) === 8;
}

/** pread() straight to an address: file bytes into guest memory without a copy. @returns bytes read, 0 at the end */
export function preadAt(fd: number, address: number, length: number, offset: number): number {
  return checked('pread', Number(raw.preadAt(fd, address, length, offset)));
}

/** The bytes at an address. The caller keeps the mapping alive for as long as any view of them lives. */
export function viewOf(address: number, length: number): Uint8Array {
  return new Uint8Array(koffi.view(BigInt(address), length));
}

/** Calls back when `fd` is readable, until the handle is closed. The callback must drain the descriptor. */
export function pollReadable(
  fd: number,
  callback: () => void,
): { close(): void; ref(): void; unref(): void } {
  return koffi.node.poll(fd, { readable: true }, callback);
}
