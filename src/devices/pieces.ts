/** Buffers of a chain as the one string of bytes that they are (virtio 1.2 §2.7.4.1: their borders mean nothing). Runs on: main. */

/** Bytes in all; descriptors may overlap, so it says nothing about memory. */
export const lengthOf = (pieces: readonly Uint8Array[]): number => {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  return length;
};

/** A copy of the first `length` bytes, or of all when there are fewer. */
export function gather(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(Math.min(length, lengthOf(pieces)));
  let done = 0;
  for (const piece of pieces) {
    const part = piece.subarray(0, bytes.length - done);
    bytes.set(part, done);
    done += part.length;
  }
  return bytes;
}

/** Writes `bytes` over the start of `pieces`. @returns how many fitted */
export function scatter(pieces: readonly Uint8Array[], bytes: Uint8Array): number {
  let done = 0;
  for (const piece of pieces) {
    const part = bytes.subarray(done, done + piece.length);
    piece.set(part);
    done += part.length;
  }
  return done;
}

/** All but the first `length` bytes. */
export function skip(pieces: readonly Uint8Array[], length: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let left = length;
  for (const piece of pieces) {
    if (piece.length > left) rest.push(piece.subarray(left));
    left = Math.max(0, left - piece.length);
  }
  return rest;
}
