/**
 * A VM's RAM: host mappings, one per range, and the GuestMemory over them. The mappings outlive every vCPU thread
 * and every device; only vm/ disposes them.
 * Runs on: main.
 */
import { HostError } from '../base/errors.js';
import { type Gpa, type HostPtr, hostPtr } from '../base/units.js';
import { preadAt } from '../host/libc.js';
import { Mapping, type PageBacking } from '../host/mapping.js';
import { GuestMemory, VIEW_LENGTH, VIEW_STRIDE } from './guest-memory.js';

export interface RamRange {
  readonly base: Gpa;
  readonly size: number; // bytes
}

export class Ram implements Disposable {
  readonly memory: GuestMemory;
  readonly #ranges: readonly (RamRange & { readonly mapping: Mapping })[];

  /** @throws HostError when the host will not give the address space or has no huge pages left */
  constructor(ranges: readonly RamRange[], backing: PageBacking = 'default') {
    const mapped: (RamRange & { readonly mapping: Mapping })[] = [];
    try {
      for (const range of ranges) mapped.push({ ...range, mapping: Mapping.anonymous(range.size, backing) });
    } catch (error) {
      for (const { mapping } of mapped) mapping[Symbol.dispose]();
      throw explain(error, backing);
    }
    this.#ranges = mapped;
    this.memory = new GuestMemory(
      mapped.map(({ base, size, mapping }) => ({ base, size, views: viewsOf(mapping) })),
    );
  }

  /** For KVM's memory slots. */
  *slots(): Generator<RamRange & { readonly host: HostPtr }> {
    for (const { base, size, mapping } of this.#ranges)
      yield { base, size, host: hostPtr(BigInt(mapping.address)) };
  }

  /**
   * Reads a file's bytes straight into RAM, without a copy on the JavaScript heap.
   * @throws HostError when the file ends early: it changed since it was measured
   */
  readFrom(fd: number, offset: number, at: Gpa, length: number): void {
    this.memory.slice(at, 0); // refuses what is not RAM with the address in the message
    const range = this.#ranges.find(({ base, size }) => at >= base && at + length <= base + size);
    if (!range) throw new RangeError(`${length} bytes at ${at} are not RAM of one range`);
    for (let done = 0; done < length; ) {
      const got = preadAt(fd, range.mapping.address + (at - range.base) + done, length - done, offset + done);
      if (got === 0) throw new HostError(`file ended ${length - done} bytes early`, 'pread');
      done += got;
    }
  }

  [Symbol.dispose](): void {
    for (const { mapping } of this.#ranges) mapping[Symbol.dispose]();
  }
}

function viewsOf(mapping: Mapping): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let at = 0; at < mapping.length; at += VIEW_STRIDE) {
    views.push(mapping.view(at, Math.min(VIEW_LENGTH, mapping.length - at)));
  }
  return views;
}

function explain(error: unknown, backing: PageBacking): unknown {
  if (!(error instanceof HostError) || error.errnoName !== 'ENOMEM') return error;
  const hint =
    backing === '2M'
      ? 'reserve huge pages first: echo COUNT > /proc/sys/vm/nr_hugepages (each 2 MiB)'
      : 'ask for less memory';
  return new HostError(
    'the host has not enough memory for the guest',
    error.syscall,
    error.errno,
    error.errnoName,
    {
      hint,
      cause: error,
    },
  );
}
