/** Small kernel images, good and bad, for tests of what reads them. */

export interface ElfSegment {
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize?: number;
}

export interface ElfOptions {
  readonly bits?: 32 | 64;
  /** e_machine: 62 is x86-64, 183 AArch64. */
  readonly machine?: number;
  readonly entry?: number;
  readonly segments?: readonly ElfSegment[];
}

const HEADER = 64;
const PROGRAM_HEADER = 56;
const SECTION_HEADER = 64;
const PT_LOAD = 1;

/** One segment of a page at 1 MiB. */
export const SMALL_ELF: ElfOptions = {
  entry: 0x10_0000,
  segments: [{ address: 0x10_0000, fileSize: 0x1000 }],
};

/** An executable ELF file; segments follow each other from 0x1000 on, filled with HLT. */
export function elfImage({ bits = 64, machine = 62, entry = 0, segments = [] }: ElfOptions): Uint8Array {
  const size = 0x1000 + segments.reduce((sum, { fileSize }) => sum + fileSize, 0);
  const bytes = new Uint8Array(size).fill(0xf4, 0x1000);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, machine, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(entry), true);
  view.setBigUint64(32, BigInt(HEADER), true);
  view.setUint16(52, HEADER, true);
  view.setUint16(54, PROGRAM_HEADER, true);
  view.setUint16(56, segments.length, true);
  let offset = 0x1000;
  for (const [index, { address, fileSize, memorySize = fileSize }] of segments.entries()) {
    const at = HEADER + index * PROGRAM_HEADER;
    view.setUint32(at, PT_LOAD, true);
    view.setUint32(at + 4, 5, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 16, BigInt(address), true);
    view.setBigUint64(at + 24, BigInt(address), true);
    view.setBigUint64(at + 32, BigInt(fileSize), true);
    view.setBigUint64(at + 40, BigInt(memorySize), true);
    view.setBigUint64(at + 48, 0x1000n, true);
    offset += fileSize;
  }
  return bytes;
}

/**
 * The same file with a section table at its end (gABI chapter 4), and the sections' bytes in front of it; the last one has their
 * names. @returns it, and where the table is
 */
export function withSections(
  image: Uint8Array,
  sections: readonly { readonly name: string; readonly bytes: Uint8Array }[],
): { readonly image: Uint8Array; readonly table: number } {
  const names = ['', ...sections.map(({ name }) => name), '.shstrtab'];
  const strings = Buffer.from(`${names.join('\0')}\0`, 'latin1');
  const parts = [...sections.map(({ bytes }) => bytes), strings];
  const table = image.length + parts.reduce((sum, { length }) => sum + length, 0);
  const all = new Uint8Array(table + names.length * SECTION_HEADER);
  const view = new DataView(all.buffer);
  all.set(image);
  let at = image.length;
  for (const [index, part] of parts.entries()) {
    const header = table + (index + 1) * SECTION_HEADER;
    all.set(part, at);
    view.setUint32(header, names.slice(0, index + 1).join('\0').length + 1, true); // sh_name
    view.setBigUint64(header + 24, BigInt(at), true); // sh_offset
    view.setBigUint64(header + 32, BigInt(part.length), true); // sh_size
    at += part.length;
  }
  view.setBigUint64(40, BigInt(table), true); // e_shoff
  view.setUint16(58, SECTION_HEADER, true); // e_shentsize
  view.setUint16(60, names.length, true); // e_shnum
  view.setUint16(62, names.length - 1, true); // e_shstrndx
  return { image: all, table };
}

/** A bzImage of 64-bit protected-mode code that halts: header fields as in Linux Documentation/arch/x86/boot.rst. */
export function bzImage({ version = 0x20f, xloadflags = 1 } = {}): Uint8Array {
  const setup = 2 * 512; // boot sector and one more
  const code = 0x4000;
  const bytes = new Uint8Array(setup + code).fill(0xf4, setup);
  const view = new DataView(bytes.buffer);
  view.setUint8(0x1f1, 1); // setup_sects
  view.setUint32(0x1f4, code / 16, true); // syssize
  view.setUint16(0x1fe, 0xaa55, true);
  bytes.set([0xeb, 0x6a], 0x200); // jump over a header of 0x26c bytes
  bytes.set(Buffer.from('HdrS'), 0x202);
  view.setUint16(0x206, version, true);
  view.setUint8(0x211, 1); // loadflags: LOADED_HIGH
  view.setUint32(0x22c, 0x7fff_ffff, true); // initrd_addr_max
  view.setUint32(0x230, 0x20_0000, true); // kernel_alignment
  view.setUint8(0x234, 1); // relocatable_kernel
  view.setUint16(0x236, xloadflags, true);
  view.setUint32(0x238, 2047, true); // cmdline_size
  view.setBigUint64(0x258, 0x100_0000n, true); // pref_address
  view.setUint32(0x260, 0x10_0000, true); // init_size
  return bytes;
}
