/** The buffers of one request, taken from the front piece by piece. */

export class BufferCursor {
  #index = 0;
  #offset = 0;

  constructor(readonly buffers: readonly Uint8Array[]) {}

  /** Views of the next `length` bytes. There must be that many. */
  take(length: number): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (let left = length; left > 0; ) {
      const buffer = this.buffers[this.#index]!;
      const piece = buffer.subarray(this.#offset, this.#offset + left);
      if (piece.length > 0) pieces.push(piece);
      left -= piece.length;
      this.#offset += piece.length;
      if (this.#offset === buffer.length) {
        this.#index += 1;
        this.#offset = 0;
      }
    }
    return pieces;
  }
}

export function fillZero(buffers: readonly Uint8Array[]): void {
  for (const buffer of buffers) buffer.fill(0);
}
