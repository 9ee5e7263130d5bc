/**
 * C structs by declaration: offsets follow the System V x86-64 ABI (natural alignment, size rounded up to the
 * strictest member), values are typed from the same declaration. A 64-bit field is always a bigint.
 * A conformance test compiles every declaration against the system's headers.
 * Runs on: main.
 */

type Scalar = 'u8' | 'u16' | 's16' | 'u32' | 's32' | 'u64' | 's64';
export type FieldType = Scalar | CArray | CStruct;
export type Fields = Readonly<Record<string, FieldType>>;

/** The JavaScript value of a field: bytes are a Uint8Array, other arrays are arrays. */
export type ValueOf<T extends FieldType> = T extends 'u64' | 's64'
  ? bigint
  : T extends Scalar
    ? number
    : T extends CArray<infer E>
      ? E extends 'u8'
        ? Uint8Array
        : readonly ValueOf<E>[]
      : T extends CStruct<infer F>
        ? StructValue<F>
        : never;
export type StructValue<F extends Fields> = { -readonly [K in keyof F]: ValueOf<F[K]> };
/** What `encode` takes: fields left out are zero. */
export type StructInput<F extends Fields> = { readonly [K in keyof F]?: InputOf<F[K]> };
type InputOf<T extends FieldType> =
  T extends CStruct<infer F>
    ? StructInput<F>
    : T extends CArray<infer E>
      ? E extends 'u8'
        ? Uint8Array
        : readonly InputOf<E>[]
      : ValueOf<T>;

interface ScalarCodec {
  readonly size: number;
  get(view: DataView, at: number): number | bigint;
  set(view: DataView, at: number, value: never): void;
}

const SCALARS: Readonly<Record<Scalar, ScalarCodec>> = {
  u8: { size: 1, get: (v, at) => v.getUint8(at), set: (v, at, x: number) => v.setUint8(at, x) },
  u16: {
    size: 2,
    get: (v, at) => v.getUint16(at, true),
    set: (v, at, x: number) => v.setUint16(at, x, true),
  },
  s16: { size: 2, get: (v, at) => v.getInt16(at, true), set: (v, at, x: number) => v.setInt16(at, x, true) },
  u32: {
    size: 4,
    get: (v, at) => v.getUint32(at, true),
    set: (v, at, x: number) => v.setUint32(at, x, true),
  },
  s32: { size: 4, get: (v, at) => v.getInt32(at, true), set: (v, at, x: number) => v.setInt32(at, x, true) },
  u64: {
    size: 8,
    get: (v, at) => v.getBigUint64(at, true),
    set: (v, at, x: bigint) => v.setBigUint64(at, x, true),
  },
  s64: {
    size: 8,
    get: (v, at) => v.getBigInt64(at, true),
    set: (v, at, x: bigint) => v.setBigInt64(at, x, true),
  },
};

/** A C array of fixed length. */
export class CArray<E extends FieldType = FieldType> {
  readonly size: number;
  readonly align: number;
  constructor(
    readonly element: E,
    readonly count: number,
  ) {
    this.size = sizeOf(element) * count;
    this.align = alignOf(element);
  }
}

export const array = <E extends FieldType>(element: E, count: number): CArray<E> =>
  new CArray(element, count);

/** A C struct. `name` is its name in the headers. */
export class CStruct<F extends Fields = Fields> {
  readonly size: number;
  readonly align: number;
  /** Byte offset of every field. */
  readonly offsets: { readonly [K in keyof F]: number };

  constructor(
    readonly name: string,
    readonly fields: F,
  ) {
    const offsets: Record<string, number> = {};
    let end = 0;
    let align = 1;
    for (const [field, type] of Object.entries(fields)) {
      const alignment = alignOf(type);
      end = roundUp(end, alignment);
      offsets[field] = end;
      end += sizeOf(type);
      align = Math.max(align, alignment);
    }
    this.size = roundUp(end, align);
    this.align = align;
    this.offsets = offsets as { [K in keyof F]: number };
  }

  encode(value: StructInput<F> = {}): Uint8Array {
    const bytes = new Uint8Array(this.size);
    this.encodeInto(new DataView(bytes.buffer), 0, value);
    return bytes;
  }

  encodeInto(view: DataView, at: number, value: StructInput<F>): void {
    for (const [field, given] of Object.entries(value)) {
      const type = this.fields[field];
      if (type === undefined) throw new TypeError(`struct ${this.name} has no field ${field}`);
      if (given !== undefined) write(view, at + this.offsets[field]!, type, given);
    }
  }

  decode(bytes: Uint8Array, at = 0): StructValue<F> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const value: Record<string, unknown> = {};
    for (const [field, type] of Object.entries(this.fields))
      value[field] = read(view, at + this.offsets[field]!, type);
    return value as StructValue<F>;
  }
}

export const struct = <F extends Fields>(name: string, fields: F): CStruct<F> => new CStruct(name, fields);

/** A struct that ends in an array whose length a header field tells (kvm_cpuid2, kvm_msrs). */
export class Flexible<H extends Fields, E extends Fields> {
  readonly size: number; // of the header alone: what the ioctl's number is derived from

  constructor(
    readonly header: CStruct<H>,
    readonly entry: CStruct<E>,
    readonly countField: keyof H & string,
  ) {
    this.size = header.size;
  }

  encode(entries: readonly StructInput<E>[]): Uint8Array {
    const bytes = this.room(entries.length);
    const view = new DataView(bytes.buffer);
    for (const [index, entry] of entries.entries()) {
      this.entry.encodeInto(view, this.size + index * this.entry.size, entry);
    }
    return bytes;
  }

  /** Zeroed bytes with room for `count` entries, for the kernel to fill. */
  room(count: number): Uint8Array {
    const bytes = new Uint8Array(this.size + count * this.entry.size);
    new DataView(bytes.buffer).setUint32(this.header.offsets[this.countField]!, count, true);
    return bytes;
  }

  decode(bytes: Uint8Array): StructValue<E>[] {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const count = view.getUint32(this.header.offsets[this.countField]!, true);
    return Array.from({ length: count }, (_, index) =>
      this.entry.decode(bytes, this.size + index * this.entry.size),
    );
  }
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

export function sizeOf(type: FieldType): number {
  return typeof type === 'string' ? SCALARS[type].size : type.size;
}

function alignOf(type: FieldType): number {
  return typeof type === 'string' ? SCALARS[type].size : type.align;
}

function read(view: DataView, at: number, type: FieldType): unknown {
  if (typeof type === 'string') return SCALARS[type].get(view, at);
  if (type instanceof CStruct) {
    return type.decode(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), at);
  }
  if (type.element === 'u8') return new Uint8Array(view.buffer, view.byteOffset + at, type.count).slice();
  return Array.from({ length: type.count }, (_, i) =>
    read(view, at + i * sizeOf(type.element), type.element),
  );
}

function write(view: DataView, at: number, type: FieldType, value: unknown): void {
  if (typeof type === 'string') SCALARS[type].set(view, at, value as never);
  else if (type instanceof CStruct) type.encodeInto(view, at, value as StructInput<Fields>);
  else {
    const items = value as ArrayLike<unknown>;
    if (items.length > type.count)
      throw new RangeError(`${items.length} items for an array of ${type.count}`);
    for (let i = 0; i < items.length; i += 1)
      write(view, at + i * sizeOf(type.element), type.element, items[i]);
  }
}
