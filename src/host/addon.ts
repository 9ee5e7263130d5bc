/**
 * The native addon's types; nobody else imports it. It is a Node-API module, built by `npm run build` and the same
 * for every Node version.
 * Runs on: main.
 */
import { createRequire } from 'node:module';
import { HostError } from '../base/errors.js';

/** See native/register_page.h. Slots and words are indexed from 0. */
export interface NativeRegisterPage {
  /** @returns the slot, to be switched on by storing `action` in the actions buffer */
  add(space: number, address: number, width: number, action: number, operand: number): number;
  addRing(size: number, eventfd: number): number;
  /** Call until it returns 0; then the ring's eventfd tells again. */
  take(ring: number, into: Uint8Array): number;
}

/** See native/vcpu_thread.h. */
export interface NativeVcpuThread {
  /** Before `start`. @param mask a bit for each host CPU, as sched_setaffinity(2) takes it: whole 64-bit words */
  setAffinity(mask: Uint8Array): void;
  /** @throws Error with the system's word */
  start(): void;
  wake(): void;
  spin(nanoseconds: number): boolean;
  kick(): void;
  stop(): void;
}

/** See native/poll.h. Polls a descriptor from its construction on. */
export interface NativePoll {
  /** Goes on after `stop`. */
  start(): void;
  stop(): void;
  /** Whether it keeps the process alive: it does, until `unref`. */
  ref(): void;
  unref(): void;
  close(): void;
}

interface Addon {
  Poll: new (fd: number, counter: boolean, callback: () => void) => NativePoll;
  RegisterPage: new (words: ArrayBuffer, actions: ArrayBuffer) => NativeRegisterPage;
  VcpuThread: new (
    vcpuFd: number,
    runAddress: number,
    page: NativeRegisterPage | undefined,
    control: ArrayBuffer,
    eventfd: number,
  ) => NativeVcpuThread;
  currentCpu(): number;
  /**
   * Where the array's bytes lie, for a call that outlives this one. Valid while something holds the array and nobody
   * detaches or resizes its buffer. @throws TypeError for anything but a Uint8Array
   */
  addressOf(bytes: Uint8Array): number;
  /** The bytes at an address themselves, not counted as memory of the JavaScript heap. */
  viewMemory(address: number, length: number): ArrayBuffer;
  /** Empties an ArrayBuffer over foreign memory, and every view of it; the memory stays as it is. */
  detach(buffer: ArrayBuffer): void;
}

/** Where the built addon lies as seen from src/host, dist/host and a bundle in dist. */
const PLACES = ['../../native/build/Release/typevisor.node', '../native/build/Release/typevisor.node'];

function load(): Addon {
  const require = createRequire(import.meta.url);
  let failure: unknown;
  for (const place of PLACES) {
    try {
      return require(place) as Addon;
    } catch (error) {
      failure ??= error;
    }
  }
  throw new HostError('the native addon is not built', undefined, undefined, undefined, {
    hint: 'run: npm run build',
    cause: failure,
  });
}

export const addon: Addon = load();
