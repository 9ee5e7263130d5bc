/**
 * A vCPU's kvm_run page, decoded in place (api.rst §5, struct kvm_run). `data` are the bytes themselves: what a
 * device writes there is what the guest reads.
 * Runs on: main, only while the vCPU's thread is parked.
 */
import { exitReasons, flags, structs } from '../kvm/abi.js';

const RUN = structs.kvm_run.offsets;
/** Where kvm_run's union starts: right after the common part. */
const UNION = structs.kvm_run.size;
const at = <K extends string>(offsets: Readonly<Record<K, number>>): Record<K, number> =>
  Object.fromEntries(Object.entries<number>(offsets).map(([k, v]) => [k, UNION + v])) as Record<K, number>;
const IO = at(structs.kvm_run_io.offsets);
const MMIO = at(structs.kvm_run_mmio.offsets);
/** Widest port access, bytes. */
const MAX_PORT_SIZE = 4;
/** Longest MMIO access, bytes. */
const MMIO_DATA = 8;
const INTERNAL = at(structs.kvm_run_internal.offsets);
const FAIL_ENTRY = at(structs.kvm_run_fail_entry.offsets);
const EVENT = at(structs.kvm_run_system_event.offsets);

/** An access to a port or to guest-physical space; `count` accesses of `size` bytes each (only REP INS/OUTS has more than 1). */
export interface AccessExit {
  readonly kind: 'pio' | 'mmio';
  readonly address: number;
  readonly isWrite: boolean;
  readonly size: number; // bytes of one access
  readonly data: Uint8Array; // size × count bytes, aliasing kvm_run
}
export interface InternalErrorExit {
  readonly kind: 'internal-error';
  readonly suberror: number;
  readonly data: readonly bigint[];
}
export type Exit =
  | AccessExit
  | InternalErrorExit
  | { readonly kind: 'hlt' }
  | { readonly kind: 'shutdown' }
  | { readonly kind: 'interrupted' }
  | { readonly kind: 'system-event'; readonly type: number }
  | { readonly kind: 'fail-entry'; readonly reason: bigint }
  | { readonly kind: 'unknown'; readonly reason: number };

/** Whether a device must answer this exit. */
export const isAccess = (exit: Exit): exit is AccessExit => exit.kind === 'pio' || exit.kind === 'mmio';

const HLT: Exit = { kind: 'hlt' };
const SHUTDOWN: Exit = { kind: 'shutdown' };
const INTERRUPTED: Exit = { kind: 'interrupted' };

export class RunPage {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** MMIO data by length: the same few views every time. */
  readonly #mmio: readonly (Uint8Array | undefined)[];
  /** Single port accesses' data by size, at the place where the kernel last put them. */
  #pio: readonly Uint8Array[] = [];
  #pioOffset = -1;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#mmio = Array.from({ length: MMIO_DATA + 1 }, (_, n) => bytes.subarray(MMIO.data, MMIO.data + n));
  }

  decode(): Exit {
    const view = this.#view;
    const reason = view.getUint32(RUN.exit_reason, true);
    switch (reason) {
      case exitReasons.KVM_EXIT_IO: {
        const size = view.getUint8(IO.size);
        // The kernel puts PIO data into the second page of the mapping: far below 2^32.
        const offset = view.getUint32(IO.data_offset, true);
        const count = view.getUint32(IO.count, true);
        return {
          kind: 'pio',
          address: view.getUint16(IO.port, true),
          isWrite: view.getUint8(IO.direction) === flags.KVM_EXIT_IO_OUT,
          size,
          data:
            count === 1 ? this.#portData(offset, size) : this.#bytes.subarray(offset, offset + size * count),
        };
      }
      case exitReasons.KVM_EXIT_MMIO: {
        const size = view.getUint32(MMIO.len, true);
        return {
          kind: 'mmio',
          address: view.getUint32(MMIO.phys_addr, true) + view.getUint32(MMIO.phys_addr + 4, true) * 2 ** 32,
          isWrite: view.getUint8(MMIO.is_write) !== 0,
          size,
          data: this.#mmio[Math.min(size, MMIO_DATA)]!,
        };
      }
      case exitReasons.KVM_EXIT_HLT:
        return HLT;
      case exitReasons.KVM_EXIT_SHUTDOWN:
        return SHUTDOWN;
      case exitReasons.KVM_EXIT_INTR:
        return INTERRUPTED;
      case exitReasons.KVM_EXIT_INTERNAL_ERROR: {
        const count = Math.min(view.getUint32(INTERNAL.ndata, true), 16);
        const data = Array.from({ length: count }, (_, i) => view.getBigUint64(INTERNAL.data + 8 * i, true));
        return { kind: 'internal-error', suberror: view.getUint32(INTERNAL.suberror, true), data };
      }
      case exitReasons.KVM_EXIT_FAIL_ENTRY:
        return {
          kind: 'fail-entry',
          reason: view.getBigUint64(FAIL_ENTRY.hardware_entry_failure_reason, true),
        };
      case exitReasons.KVM_EXIT_SYSTEM_EVENT:
        return { kind: 'system-event', type: view.getUint32(EVENT.type, true) };
      default:
        return { kind: 'unknown', reason };
    }
  }

  #portData(offset: number, size: number): Uint8Array {
    if (offset !== this.#pioOffset) {
      this.#pioOffset = offset;
      this.#pio = Array.from({ length: MAX_PORT_SIZE + 1 }, (_, n) =>
        this.#bytes.subarray(offset, offset + n),
      );
    }
    return this.#pio[size] ?? this.#bytes.subarray(offset, offset + size);
  }
}
