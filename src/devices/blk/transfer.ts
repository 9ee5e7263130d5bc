/**
 * Carries one request to a back end: its pieces by the vectored call, where there is one, and long requests in parts, so that
 * the event loop waits for one part at most. A request may be 4 GiB long, all of it in descriptors of the same memory
 * (virtio 1.2 §2.7.5.2), and a disk in memory is done before its call returns.
 * Runs on: main.
 */
import { type Pieces, slicePieces } from '../../base/pieces.js';
import type { BlockBackend } from './backend.js';

type Done = void | Promise<void>;

/** Bytes of one call that reads or writes. */
export const TRANSFER_STEP = 2 ** 20;
/** Bytes of one call that discards or writes zeroes, whose ends are multiples of any back end's block. */
export const RANGE_STEP = 2 ** 22;

export interface Part {
  /** Where it starts, bytes: on the disk, or in the request. */
  readonly at: number;
  readonly length: number; // bytes
}

/** [at, at + length) cut at multiples of `step`. */
export function* partsOf({ at, length }: Part, step: number): IterableIterator<Part> {
  for (let next = at; next < at + length; ) {
    const end = Math.min(at + length, next - (next % step) + step);
    yield { at: next, length: end - next };
    next = end;
  }
}

/**
 * One part after the other; after every `most` bytes of them the event loop has a turn.
 * @param wanted asked after a wait: false ends it early, when nobody waits for the rest any more
 */
export function inTurns<P extends Part>(
  parts: Iterator<P>,
  most: number,
  wanted: () => boolean,
  act: (part: P) => Done,
): Done {
  let next = parts.next();
  const run = (): Done => {
    for (let spent = 0; !next.done; ) {
      const pending = act(next.value);
      spent += next.value.length;
      next = parts.next();
      if (next.done) return pending;
      // An async function that copies at once has used the event loop's time as well.
      if (spent >= most) return (pending ?? Promise.resolve()).then(turn).then(goOn);
      if (pending) return pending.then(goOn);
    }
  };
  const goOn = (): Done => (wanted() ? run() : undefined);
  return run();
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Almost every request is one part, and is not cut. */
export function transfer(
  pieces: Pieces,
  length: number,
  wanted: () => boolean,
  move: (at: number, pieces: Pieces) => Done,
): Done {
  if (length <= TRANSFER_STEP) return move(0, pieces);
  return inTurns(partsOf({ at: 0, length }, TRANSFER_STEP), TRANSFER_STEP, wanted, (part) =>
    move(part.at, slicePieces(pieces, part.at, part.length)),
  );
}

export function readPieces(disk: BlockBackend, offset: number, into: Pieces): Done {
  if (into.length === 1) return disk.read(offset, into[0]!);
  return disk.readv ? disk.readv(offset, into) : each(offset, into, (at, piece) => disk.read(at, piece));
}

/** @param disk one that has `write` */
export function writePieces(disk: BlockBackend, offset: number, from: Pieces): Done {
  if (from.length === 1) return disk.write!(offset, from[0]!);
  return disk.writev ? disk.writev(offset, from) : each(offset, from, (at, piece) => disk.write!(at, piece));
}

/** One after the other, so that a simple back end need not think about overlapping calls of one request. */
function each(offset: number, pieces: Pieces, call: (at: number, piece: Uint8Array) => Done): Done {
  let at = offset;
  for (const [index, piece] of pieces.entries()) {
    const pending = call(at, piece);
    at += piece.length;
    if (pending) {
      const rest = pieces.slice(index + 1);
      return pending.then(() => each(at, rest, call));
    }
  }
  return undefined;
}
