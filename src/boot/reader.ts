/** Read access to an image by offset, so that headers are looked at without loading a whole kernel. */
export interface ImageReader {
  readonly size: number; // bytes
  /** Shorter than asked for only where the image ends. */
  read(offset: number, length: number): Uint8Array;
}

export const readerOf = (bytes: Uint8Array): ImageReader => ({
  size: bytes.length,
  read: (offset, length) => bytes.subarray(offset, offset + length),
});

/** A DataView over exactly these bytes. */
export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
