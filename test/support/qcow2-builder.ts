/**
 * Builds an empty qcow2 image in memory, from the format's description and with no code of src/: header, refcount table,
 * one run of refcount blocks, an empty L1 table.
 */

export interface BuildOptions {
  /** Bytes of the virtual disk. */
  readonly size: number;
  readonly clusterBits?: number;
  readonly refcountOrder?: number;
  readonly version?: 2 | 3;
  readonly backing?: { readonly name: string; readonly format?: string };
  /** Overrides of 64-bit feature fields. */
  readonly incompatible?: bigint;
  readonly compatible?: bigint;
  readonly autoclear?: bigint;
  readonly compressionType?: number;
  readonly extensions?: readonly { readonly type: number; readonly data: Uint8Array }[];
}

export function buildQcow2(options: BuildOptions): Uint8Array {
  const { size, clusterBits = 16, refcountOrder = 4, version = 3, backing } = options;
  const cluster = 2 ** clusterBits;
  const l1Entries = Math.ceil(size / cluster / (cluster / 8));
  const l1Clusters = Math.max(1, Math.ceil((l1Entries * 8) / cluster));
  const perBlock = (cluster * 8) / 2 ** refcountOrder;
  let blocks = 1;
  while (blocks * perBlock < 2 + blocks + l1Clusters) blocks += 1;
  const used = 2 + blocks + l1Clusters;
  const image = new Uint8Array(used * cluster);
  const view = new DataView(image.buffer);

  view.setUint32(0, 0x514649fb);
  view.setUint32(4, version);
  view.setUint32(20, clusterBits);
  view.setBigUint64(24, BigInt(size));
  view.setUint32(36, l1Entries);
  view.setBigUint64(40, BigInt((2 + blocks) * cluster));
  view.setBigUint64(48, BigInt(cluster));
  view.setUint32(56, 1);
  let at = 72;
  if (version === 3) {
    view.setBigUint64(72, options.incompatible ?? 0n);
    view.setBigUint64(80, options.compatible ?? 0n);
    view.setBigUint64(88, options.autoclear ?? 0n);
    view.setUint32(96, refcountOrder);
    view.setUint32(100, 112);
    view.setUint8(104, options.compressionType ?? 0);
    at = 112;
  }
  const extensions = [...(options.extensions ?? [])];
  if (backing?.format !== undefined) {
    extensions.unshift({ type: 0xe2792aca, data: new TextEncoder().encode(backing.format) });
  }
  for (const { type, data } of extensions) {
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    image.set(data, at + 8);
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
  at += 8; // the end of the extensions: eight zero bytes
  if (backing) {
    const name = new TextEncoder().encode(backing.name);
    view.setBigUint64(8, BigInt(at));
    view.setUint32(16, name.length);
    image.set(name, at);
  }
  for (let block = 0; block < blocks; block += 1) {
    view.setBigUint64(cluster + block * 8, BigInt((2 + block) * cluster));
  }
  for (let index = 0; index < used; index += 1) setCount(view, 2 * cluster, refcountOrder, index);
  return image;
}

/** Sets a count to one. Blocks are consecutive, so an index runs through all of them. */
function setCount(view: DataView, base: number, order: number, index: number): void {
  const bits = 2 ** order;
  if (bits < 8) {
    const at = base + Math.floor((index * bits) / 8);
    view.setUint8(at, view.getUint8(at) | (1 << ((index * bits) % 8)));
  } else view.setUint8(base + (index + 1) * (bits / 8) - 1, 1);
}
