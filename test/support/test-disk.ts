/** A disk in memory that answers at once or later, keeps a record of calls, and fails when told to. */
import type { BlockBackend } from '../../src/devices/blk/backend.js';

type Done = void | Promise<void>;

export interface DiskOptions {
  readonly size?: number;
  /** `sync`: calls return when done. `async`: a promise, settled in a later turn. `held`: a promise, settled by `release`. */
  readonly mode?: 'sync' | 'async' | 'held';
  /** With readv and writev. */
  readonly vectored?: boolean;
  /** Without any of these. */
  readonly without?: readonly ('write' | 'flush' | 'discard' | 'writeZeroes')[];
  readonly readOnly?: boolean;
  readonly blockSize?: number;
}

export class TestDisk implements BlockBackend {
  readonly bytes: Uint8Array;
  size: number;
  declare readonly readOnly?: boolean;
  declare readonly blockSize?: number;
  declare readonly write?: NonNullable<BlockBackend['write']>;
  declare readonly flush?: NonNullable<BlockBackend['flush']>;
  declare readonly discard?: NonNullable<BlockBackend['discard']>;
  declare readonly writeZeroes?: NonNullable<BlockBackend['writeZeroes']>;
  declare readonly readv?: NonNullable<BlockBackend['readv']>;
  declare readonly writev?: NonNullable<BlockBackend['writev']>;
  /** `read 512+1024`, `flush`, `discard 0+512`, `zero 0+512 unmap`, … in the order in which they came. */
  readonly calls: string[] = [];
  /** Every call fails with it from now on. */
  failure: Error | undefined;
  closed = 0;
  #mode: 'sync' | 'async' | 'held';
  #held: (() => void)[] = [];

  constructor(options: DiskOptions = {}) {
    const { size = 64 * 1024, mode = 'sync', vectored = false, without = [], readOnly, blockSize } = options;
    this.bytes = Uint8Array.from({ length: size }, (_, at) => (at >> 9) * 31 + at);
    this.size = size;
    this.#mode = mode;
    if (readOnly !== undefined) this.readOnly = readOnly;
    if (blockSize !== undefined) this.blockSize = blockSize;
    const has = (name: 'write' | 'flush' | 'discard' | 'writeZeroes'): boolean => !without.includes(name);
    const total = (pieces: readonly Uint8Array[]): number =>
      pieces.reduce((sum, { length }) => sum + length, 0);
    if (has('write')) {
      this.write = (at, from) => this.#do(`write ${at}+${from.length}`, () => this.bytes.set(from, at));
    }
    if (has('flush')) this.flush = () => this.#do('flush', () => {});
    if (has('discard')) {
      this.discard = (at, length) =>
        this.#do(`discard ${at}+${length}`, () => void this.bytes.fill(0xdd, at, at + length));
    }
    if (has('writeZeroes')) {
      this.writeZeroes = (at, length, unmap) =>
        this.#do(
          `zero ${at}+${length}${unmap ? ' unmap' : ''}`,
          () => void this.bytes.fill(0, at, at + length),
        );
    }
    if (vectored) {
      this.readv = (at, into) =>
        this.#do(`readv ${at}+${total(into)} in ${into.length}`, () => {
          let done = at;
          for (const piece of into) {
            piece.set(this.bytes.subarray(done, done + piece.length));
            done += piece.length;
          }
        });
      this.writev = (at, from) =>
        this.#do(`writev ${at}+${total(from)} in ${from.length}`, () => {
          let done = at;
          for (const piece of from) {
            this.bytes.set(piece, done);
            done += piece.length;
          }
        });
    }
  }

  read(at: number, into: Uint8Array): Done {
    return this.#do(`read ${at}+${into.length}`, () => into.set(this.bytes.subarray(at, at + into.length)));
  }

  close(): void {
    this.closed += 1;
  }

  /** Calls that wait. */
  get waiting(): number {
    return this.#held.length;
  }
  /** Lets the `index`th waiting call go on, or all. */
  release(index?: number): void {
    const released = index === undefined ? this.#held.splice(0) : this.#held.splice(index, 1);
    for (const go of released) go();
  }
  /** How calls answer from now on. */
  set mode(mode: 'sync' | 'async' | 'held') {
    this.#mode = mode;
  }

  #do(call: string, work: () => void): Done {
    this.calls.push(call);
    const finish = (): void => {
      if (this.failure) throw this.failure;
      work();
    };
    if (this.#mode === 'sync') return finish();
    const ready = new Promise<void>((resolve) => {
      if (this.#mode === 'held') this.#held.push(resolve);
      else setImmediate(resolve);
    });
    return ready.then(finish);
  }
}
