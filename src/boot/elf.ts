/**
 * ELF64 executables (System V ABI, gABI chapter 4 and 5; elf(5)): checked completely before a byte is placed. What the
 * notes offer (PVH entry, this project's host capabilities) is in elf-notes.ts.
 */
import { KernelError } from '../base/errors.js';
import { type Gpa, gpa, hex } from '../base/units.js';
import { type KernelNotes, parseNotes } from './elf-notes.js';
import type { Range } from './layout.js';
import { type ImageReader, viewOf } from './reader.js';

/** Bytes of the image that go to a place in guest memory. Bytes beyond `fileSize` are zero: fresh RAM is already. */
export interface Load {
  readonly at: Gpa;
  readonly offset: number;
  readonly fileSize: number;
  readonly memorySize: number;
}

export interface ElfPlan extends KernelNotes {
  /** Physical entry point. */
  readonly entry: Gpa;
  /** Sorted by address, not overlapping, all inside the ranges given. */
  readonly loads: readonly Load[];
  /** First address behind the image. */
  readonly end: Gpa;
}

/** Offsets in Elf64_Ehdr, and its size. */
export const EHDR = {
  CLASS: 4, // u8, e_ident[EI_CLASS]
  DATA: 5, // u8, e_ident[EI_DATA]
  TYPE: 16, // u16
  MACHINE: 18, // u16
  ENTRY: 24, // u64
  PHOFF: 32, // u64
  SHOFF: 40, // u64
  PHENTSIZE: 54, // u16
  PHNUM: 56, // u16
  SHENTSIZE: 58, // u16
  SHNUM: 60, // u16
  SHSTRNDX: 62, // u16
  SIZE: 64,
} as const;
/** Offsets in Elf64_Phdr, and its size. */
export const PHDR = {
  TYPE: 0, // u32
  OFFSET: 8, // u64
  PADDR: 24, // u64
  FILESZ: 32, // u64
  MEMSZ: 40, // u64
  SIZE: 56,
} as const;
/** Linux has about five; a table of thousands is damage, not a kernel. */
const MAX_HEADERS = 256;
/** Values of p_type. */
export const PT = { LOAD: 1, NOTE: 4 } as const;
/** Values of e_ident[EI_CLASS], e_ident[EI_DATA], e_type and e_machine. */
export const ELF = {
  CLASS_32: 1,
  CLASS_64: 2,
  LITTLE_ENDIAN: 1,
  BIG_ENDIAN: 2,
  EXECUTABLE: 2,
  X86_64: 62,
} as const;
/** Other machines by e_machine, for messages. */
export const MACHINES: Readonly<Record<number, string>> = {
  3: '32-bit x86',
  8: 'MIPS',
  20: 'PowerPC',
  21: 'PowerPC 64',
  22: 'IBM S/390',
  40: '32-bit ARM',
  183: 'ARM64',
  243: 'RISC-V',
  258: 'LoongArch',
};
const TYPES: Readonly<Record<number, string>> = {
  1: 'an object file',
  3: 'a shared object',
  4: 'a core dump',
};

/**
 * Checks an ELF image and decides where its parts go.
 * @param ranges where a kernel may be put, sorted
 * @throws KernelError saying which rule the image breaks
 */
export function planElf(image: ImageReader, ranges: readonly Range[]): ElfPlan {
  const header = image.read(0, EHDR.SIZE);
  if (header.length < EHDR.SIZE) throw new KernelError('truncated ELF header');
  checkIdentity(header);
  const view = viewOf(header);
  const entry = view.getBigUint64(EHDR.ENTRY, true);
  const headers = programHeaders(image, view);
  const loads = headers
    .filter(({ type, memorySize }) => type === PT.LOAD && memorySize > 0n)
    .map((segment, index) => checkSegment(segment, index, image.size, ranges))
    .sort((a, b) => a.at - b.at);
  if (loads.length === 0) throw new KernelError('the ELF file has nothing to load');
  for (const [index, load] of loads.entries()) {
    const before = loads[index - 1];
    if (before && before.at + before.memorySize > load.at) {
      throw new KernelError(`ELF segments overlap at ${hex(load.at)}`);
    }
  }
  const isLoaded = (address: bigint): boolean =>
    loads.some(({ at, memorySize }) => address >= BigInt(at) && address < BigInt(at + memorySize));
  if (!isLoaded(entry)) {
    throw new KernelError(`ELF entry ${hex(entry)} is outside what is loaded`, {
      hint: 'the entry of a vmlinux is its physical address; was the file linked or stripped in an unusual way?',
    });
  }
  const last = loads.at(-1)!;
  const notes = headers
    .filter(({ type }) => type === PT.NOTE)
    .map(({ offset, fileSize }) => ({ offset, fileSize }));
  const { pvhEntry, hostFeatures } = parseNotes(image, notes);
  return {
    entry: gpa(Number(entry)),
    loads,
    end: gpa(last.at + last.memorySize),
    pvhEntry: pvhEntry !== undefined && isLoaded(BigInt(pvhEntry)) ? pvhEntry : undefined,
    hostFeatures,
  };
}

function checkIdentity(header: Uint8Array): void {
  const view = viewOf(header);
  const machine = view.getUint16(EHDR.MACHINE, header[EHDR.DATA] !== ELF.BIG_ENDIAN);
  const elfClass = header[EHDR.CLASS];
  if (elfClass === ELF.CLASS_32) {
    throw new KernelError(`the kernel is a 32-bit ELF file (${MACHINES[machine] ?? `machine ${machine}`})`, {
      hint: 'this monitor boots 64-bit kernels: build with CONFIG_64BIT=y',
    });
  }
  if (elfClass !== ELF.CLASS_64)
    throw new KernelError(`ELF class ${elfClass} is unknown: the file is damaged`);
  if (machine !== ELF.X86_64) {
    throw new KernelError(`the kernel is for ${MACHINES[machine] ?? `ELF machine ${machine}`}, not x86-64`);
  }
  if (header[EHDR.DATA] !== ELF.LITTLE_ENDIAN) throw new KernelError('the ELF file is big-endian');
  const type = view.getUint16(EHDR.TYPE, true);
  if (type !== ELF.EXECUTABLE) {
    throw new KernelError(`the ELF file is ${TYPES[type] ?? `of type ${type}`}, not an executable kernel`, {
      hint: 'a vmlinux is an ELF executable (ET_EXEC)',
    });
  }
}

interface ProgramHeader {
  readonly type: number;
  readonly offset: bigint;
  readonly physical: bigint;
  readonly fileSize: bigint;
  readonly memorySize: bigint;
}

function programHeaders(image: ImageReader, header: DataView): ProgramHeader[] {
  const tableAt = header.getBigUint64(EHDR.PHOFF, true);
  const entrySize = header.getUint16(EHDR.PHENTSIZE, true);
  const count = header.getUint16(EHDR.PHNUM, true);
  if (entrySize !== PHDR.SIZE) throw new KernelError(`ELF program headers of ${entrySize} bytes`);
  if (count === 0) throw new KernelError('the ELF file has no program headers');
  if (count > MAX_HEADERS) throw new KernelError(`the ELF file has ${count} program headers`);
  if (tableAt + BigInt(count * entrySize) > BigInt(image.size)) {
    throw new KernelError('truncated ELF file: its program headers are missing', {
      hint: 'was the file copied completely?',
    });
  }
  const view = viewOf(image.read(Number(tableAt), count * entrySize));
  return Array.from({ length: count }, (_, index) => {
    const at = index * PHDR.SIZE;
    return {
      type: view.getUint32(at + PHDR.TYPE, true),
      offset: view.getBigUint64(at + PHDR.OFFSET, true),
      physical: view.getBigUint64(at + PHDR.PADDR, true),
      fileSize: view.getBigUint64(at + PHDR.FILESZ, true),
      memorySize: view.getBigUint64(at + PHDR.MEMSZ, true),
    };
  });
}

function checkSegment(
  segment: ProgramHeader,
  index: number,
  imageSize: number,
  ranges: readonly Range[],
): Load {
  const { offset, physical, fileSize, memorySize } = segment;
  if (fileSize > memorySize)
    throw new KernelError(`ELF segment ${index} is larger in the file than in memory`);
  // bigint throughout: these are the file's own 64-bit numbers and their sums must not wrap.
  if (offset + fileSize > BigInt(imageSize)) {
    throw new KernelError(
      `truncated ELF file: segment ${index} ends at byte ${offset + fileSize} of ${imageSize}`,
      {
        hint: 'was the file copied completely?',
      },
    );
  }
  const fits = ranges.some(
    ({ base, size }) => physical >= BigInt(base) && physical + memorySize <= BigInt(base + size),
  );
  if (!fits) {
    const place = `${hex(physical)}–${hex(physical + memorySize)}`;
    throw new KernelError(`ELF segment ${index} at ${place} does not fit into the guest's memory`, {
      hint: 'give the guest more memory, or check that this is a kernel linked for 1 MiB and up',
    });
  }
  return {
    at: gpa(Number(physical)),
    offset: Number(offset),
    fileSize: Number(fileSize),
    memorySize: Number(memorySize),
  };
}
