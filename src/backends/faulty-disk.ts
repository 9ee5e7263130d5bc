/**
 * A disk that fails on purpose, around any other: for finding out what a guest does when its disk does not answer in
 * time, or answers with an error. Rules may be added and removed while a machine runs.
 * Runs on: main.
 */
import { HostError } from '../base/errors.js';
import { lengthOf, type Pieces, slicePieces } from '../base/pieces.js';
import type { BlockBackend } from '../devices/blk/backend.js';
import { readPieces, writePieces } from '../devices/blk/transfer.js';
import { errnoNumber } from '../host/libc.js';
import type { Done } from './pieces.js';

/** What a fault can be told to hit. */
export type DiskOperation = 'read' | 'write' | 'flush' | 'discard' | 'writeZeroes';

/** What happens to which requests. Without `error` they are only late. */
export interface DiskFault {
  /** All operations by default. */
  readonly operation?: DiskOperation;
  /** Only requests that touch bytes from here … */
  readonly from?: number;
  /** … up to, not including, here. A flush touches everything. */
  readonly to?: number;
  /** Requests that match and pass unharmed before the fault sets in. */
  readonly skip?: number;
  /** How many are hit after that; all by default. */
  readonly times?: number;
  /** Delays the request, ms. */
  readonly delayMs?: number;
  /** Fails it: `EIO`, `ENOSPC`, … */
  readonly error?: string;
  /** Bytes of a read or write that are carried out before it fails. */
  readonly partial?: number;
}

interface Rule extends DiskFault {
  seen: number;
}

/** A disk around another one that fails or is late as it is told. */
export class FaultyDisk implements BlockBackend {
  readonly readOnly: boolean;
  readonly blockSize?: number;
  readonly write?: (offset: number, from: Uint8Array) => Done;
  readonly writev?: (offset: number, from: Pieces) => Done;
  readonly discard?: (offset: number, length: number) => Done;
  readonly writeZeroes?: (offset: number, length: number, mayUnmap: boolean) => Done;
  readonly #disk: BlockBackend;
  #rules: Rule[] = [];

  constructor(disk: BlockBackend) {
    this.#disk = disk;
    this.readOnly = disk.readOnly === true || !disk.write;
    if (disk.blockSize !== undefined) this.blockSize = disk.blockSize;
    if (disk.write) {
      this.writev = (at, from) => this.#move('write', at, from, writePieces);
      this.write = (at, from) => this.#move('write', at, [from], writePieces);
    }
    if (disk.discard) {
      this.discard = (at, length) => this.#meet('discard', at, length, () => disk.discard!(at, length));
    }
    if (disk.writeZeroes) {
      this.writeZeroes = (at, length, unmap) =>
        this.#meet('writeZeroes', at, length, () => disk.writeZeroes!(at, length, unmap));
    }
  }

  get size(): number {
    return this.#disk.size;
  }

  /** @returns what takes the fault away again */
  inject(fault: DiskFault): () => void {
    const rule: Rule = { ...fault, seen: 0 };
    this.#rules.push(rule);
    return () => {
      this.#rules = this.#rules.filter((other) => other !== rule);
    };
  }

  read(offset: number, into: Uint8Array): Done {
    return this.#move('read', offset, [into], readPieces);
  }

  readv(offset: number, into: Pieces): Done {
    return this.#move('read', offset, into, readPieces);
  }

  flush(): Done {
    return this.#meet('flush', 0, Number.POSITIVE_INFINITY, () => this.#disk.flush?.());
  }

  close(): Done {
    return this.#disk.close?.();
  }

  #move(operation: 'read' | 'write', offset: number, pieces: Pieces, move: typeof readPieces): Done {
    const partly = (length: number): Done => move(this.#disk, offset, slicePieces(pieces, 0, length));
    return this.#meet(operation, offset, lengthOf(pieces), () => move(this.#disk, offset, pieces), partly);
  }

  /** The first rule that matches decides. */
  #meet(
    operation: DiskOperation,
    offset: number,
    length: number,
    whole: () => Done,
    partly?: (length: number) => Done,
  ): Done {
    const rule = this.#rules.find((candidate) => hits(candidate, operation, offset, length));
    if (!rule) return whole();
    const { delayMs, error, partial = 0 } = rule;
    const outcome = async (): Promise<void> => {
      if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
      if (error === undefined) return whole();
      if (partial > 0 && partly) await partly(Math.min(partial, length));
      throw new HostError(`${operation}: ${error} (injected)`, operation, errnoNumber(error), error);
    };
    return outcome();
  }
}

/** Whether the rule applies; counts the request if it matches. */
function hits(rule: Rule, operation: DiskOperation, offset: number, length: number): boolean {
  const { from = 0, to = Number.POSITIVE_INFINITY, skip = 0, times = Number.POSITIVE_INFINITY } = rule;
  if (rule.operation !== undefined && rule.operation !== operation) return false;
  if (offset >= to || offset + length <= from) return false;
  rule.seen += 1;
  return rule.seen > skip && rule.seen <= skip + times;
}
