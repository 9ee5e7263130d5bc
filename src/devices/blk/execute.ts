/**
 * One block request against a back end: what is refused, what is done, and the status byte (virtio 1.2 §5.2.6.2).
 * Runs on: main.
 */
import { scatter } from '../pieces.js';
import type { BlockBackend } from './backend.js';
import { ID_BYTES, S, SECTOR, T } from './protocol.js';
import { type ByteRange, parseRanges } from './ranges.js';
import type { BlkRequest } from './request.js';
import { inTurns, type Part, partsOf, RANGE_STEP, readPieces, transfer, writePieces } from './transfer.js';

/** What a device is at the moment. */
export interface Terms {
  readonly disk: BlockBackend;
  readonly readOnly: boolean;
  /** Writes are durable when they complete. */
  readonly writethrough: boolean;
  /** Whether DISCARD and WRITE_ZEROES were negotiated. */
  readonly discard: boolean;
  readonly writeZeroes: boolean;
  /** GET_ID's answer, 20 bytes. */
  readonly id: Uint8Array;
}

/** A status byte, now or later. Rejects with what the back end says. */
type Outcome = number | Promise<number>;

/**
 * @param wanted whether the driver still waits for an answer: what is long ends early when it does not
 * @throws what the back end throws
 */
export function execute(request: BlkRequest, terms: Terms, wanted: () => boolean): Outcome {
  const { disk } = terms;
  switch (request.type) {
    case T.IN: {
      const offset = placeOf(request, request.intoLength, disk.size);
      if (offset === undefined) return S.IOERR;
      if (request.intoLength === 0) return S.OK;
      return after(
        transfer(request.into, request.intoLength, wanted, (at, into) => readPieces(disk, offset + at, into)),
      );
    }
    case T.OUT: {
      const offset = placeOf(request, request.outLength, disk.size);
      if (offset === undefined || terms.readOnly) return S.IOERR;
      if (request.outLength === 0) return S.OK;
      return written(
        transfer(request.out, request.outLength, wanted, (at, from) => writePieces(disk, offset + at, from)),
        terms,
      );
    }
    case T.FLUSH:
      return after(disk.flush?.());
    case T.GET_ID:
      if (request.intoLength < ID_BYTES) return S.IOERR;
      scatter(request.into, terms.id);
      return S.OK;
    case T.DISCARD:
      return terms.discard
        ? onRanges(request, terms, wanted, (at, length) => disk.discard!(at, length))
        : S.UNSUPP;
    case T.WRITE_ZEROES:
      return terms.writeZeroes
        ? onRanges(request, terms, wanted, (at, length, unmap) => disk.writeZeroes!(at, length, unmap))
        : S.UNSUPP;
    default:
      return S.UNSUPP;
  }
}

/** The byte offset of whole sectors inside the disk, or undefined. */
function placeOf({ sector }: BlkRequest, length: number, size: number): number | undefined {
  if (length % SECTOR !== 0) return undefined;
  const offset = sector * SECTOR;
  return offset + length <= size ? offset : undefined;
}

function onRanges(
  request: BlkRequest,
  terms: Terms,
  wanted: () => boolean,
  act: (at: number, length: number, unmap: boolean) => void | Promise<void>,
): Outcome {
  const ranges = parseRanges(request, terms.disk.size);
  if (typeof ranges === 'number') return ranges;
  if (terms.readOnly) return S.IOERR;
  const done = inTurns(partsOfRanges(ranges), RANGE_STEP, wanted, ({ at, length, unmap }) =>
    act(at, length, unmap),
  );
  return written(done, terms);
}

function* partsOfRanges(ranges: readonly ByteRange[]): IterableIterator<Part & Pick<ByteRange, 'unmap'>> {
  for (const { offset, length, unmap } of ranges) {
    for (const part of partsOf({ at: offset, length }, RANGE_STEP)) yield { ...part, unmap };
  }
}

const OK = (): number => S.OK;
const after = (pending: void | Promise<void>): Outcome => (pending ? pending.then(OK) : S.OK);

/** §5.2.6.2: in writethrough mode data is on the medium before the request completes. */
function written(pending: void | Promise<void>, { disk, writethrough }: Terms): Outcome {
  if (!writethrough || !disk.flush) return after(pending);
  return after(pending ? pending.then(() => disk.flush!()) : disk.flush());
}
