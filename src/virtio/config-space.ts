/**
 * A device's configuration space (virtio 1.2 §2.5): little-endian bytes that the driver reads field by field, and the
 * generation that tells it when two of its reads belong to different times (§2.5.1).
 * Runs on: main.
 */
export class ConfigSpace {
  /** What the driver reads, as it is now. Change it with `update`. */
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #generation = 0;
  #onChange: (() => void) | undefined;

  /** @param init fills the bytes before any driver sees them */
  constructor(
    readonly size: number,
    init: (view: DataView) => void = () => {},
  ) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
    init(this.#view);
  }

  /** Grows by one with each `update`, modulo 2^32. */
  get generation(): number {
    return this.#generation;
  }

  /** Changes fields and tells the driver (§2.5.2). */
  update(change: (view: DataView) => void): void {
    change(this.#view);
    this.#generation = (this.#generation + 1) >>> 0;
    this.#onChange?.();
  }

  /** Sets what the driver itself wrote: nothing to tell. */
  set(offset: number, data: Uint8Array): void {
    this.bytes.set(data, offset);
  }

  /** For the transport: called after each `update`. */
  listen(onChange: () => void): void {
    this.#onChange = onChange;
  }

  /** Fills `data` from `offset`; zeros where the space ends. */
  read(offset: number, data: Uint8Array): void {
    data.fill(0);
    if (offset < this.size) data.set(this.bytes.subarray(offset, offset + data.length));
  }
}
