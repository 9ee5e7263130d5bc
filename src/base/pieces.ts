/** One run of bytes in several pieces of memory, as requests to disks come. */
export type Pieces = readonly Uint8Array[];

/** Bytes of all pieces together. */
export function lengthOf(pieces: Pieces): number {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  return length;
}

/** The same memory, [start, start + length) of it. */
export function slicePieces(pieces: Pieces, start: number, length: number): Uint8Array[] {
  const slices: Uint8Array[] = [];
  let skip = start;
  let left = length;
  for (const piece of pieces) {
    if (left <= 0) break;
    if (skip >= piece.length) {
      skip -= piece.length;
      continue;
    }
    const slice = piece.subarray(skip, skip + left);
    slices.push(slice);
    left -= slice.length;
    skip = 0;
  }
  return slices;
}
