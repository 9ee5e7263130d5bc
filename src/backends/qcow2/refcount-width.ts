/**
 * Reference counts of 1 to 64 bits in a block (QEMU docs/interop/qcow2.txt "Refcount block entry"): below a byte, entry 0
 * is in the least significant bits; from two bytes on they are big endian.
 */

/** Largest count that a width can hold and a double can count. */
export const maxRefcount = (order: number): number =>
  Math.min(2 ** (2 ** order) - 1, Number.MAX_SAFE_INTEGER);

/** @param index of the entry within `view`. @returns the count; above 2^53 an approximation */
export function readRefcount(view: DataView, order: number, index: number): number {
  switch (order) {
    case 3:
      return view.getUint8(index);
    case 4:
      return view.getUint16(index * 2);
    case 5:
      return view.getUint32(index * 4);
    case 6:
      return view.getUint32(index * 8) * 2 ** 32 + view.getUint32(index * 8 + 4);
    default: {
      const perByte = 8 >> order;
      const shift = (index % perByte) << order;
      return (view.getUint8(Math.floor(index / perByte)) >> shift) & ((1 << (1 << order)) - 1);
    }
  }
}

/** @param count 0 … maxRefcount(order) */
export function writeRefcount(view: DataView, order: number, index: number, count: number): void {
  switch (order) {
    case 3:
      view.setUint8(index, count);
      break;
    case 4:
      view.setUint16(index * 2, count);
      break;
    case 5:
      view.setUint32(index * 4, count);
      break;
    case 6:
      view.setUint32(index * 8, Math.floor(count / 2 ** 32));
      view.setUint32(index * 8 + 4, count % 2 ** 32);
      break;
    default: {
      const perByte = 8 >> order;
      const shift = (index % perByte) << order;
      const mask = ((1 << (1 << order)) - 1) << shift;
      const at = Math.floor(index / perByte);
      view.setUint8(at, (view.getUint8(at) & ~mask) | (count << shift));
    }
  }
}
