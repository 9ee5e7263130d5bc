/** Boot parameters, ELF and PVH structures against <asm/bootparam.h>, <elf.h> and Xen's public layout, by C programs. */
import { describe, expect, it } from 'vitest';
import { LOADED_HIGH, SETUP, XLF_KERNEL_64 } from '../../src/boot/bzimage.js';
import { E820 } from '../../src/boot/e820.js';
import { EHDR, ELF, MACHINES, PHDR, PT } from '../../src/boot/elf.js';
import { SHDR } from '../../src/boot/kernel-version.js';
import { MEMMAP_ENTRY, MODLIST_ENTRY, START_INFO } from '../../src/boot/pvh.js';
import { BOOT_PARAMS, E820_ENTRY, E820_MAX_ENTRIES } from '../../src/boot/zero-page.js';
import { evaluateC } from '../support/compile.js';

/** C expression → what the code says. */
type Claims = Readonly<Record<string, number>>;

/** One claim per constant: `name` gives the C expression for its key; a key without one is an error. */
function claims(constants: Readonly<Record<string, number>>, name: (key: string) => string): Claims {
  return Object.fromEntries(Object.entries(constants).map(([key, value]) => [name(key), value]));
}

/** Names that are not just the field's in capitals. */
const SETUP_FIELDS: Readonly<Record<string, string>> = {
  HEADER: 'setup_sects',
  MAGIC: 'header',
  RELOCATABLE: 'relocatable_kernel',
};

const bootparam: Claims = {
  ...claims(BOOT_PARAMS, (key) => `offsetof(struct boot_params, ${key.toLowerCase()})`),
  ...Object.fromEntries(
    Object.entries(SETUP).map(([key, value]) => [
      `offsetof(struct boot_params, hdr.${SETUP_FIELDS[key] ?? key.toLowerCase()})`,
      value,
    ]),
  ),
  'offsetof(struct boot_e820_entry, addr)': E820_ENTRY.ADDR,
  'offsetof(struct boot_e820_entry, size)': E820_ENTRY.SIZE,
  'offsetof(struct boot_e820_entry, type)': E820_ENTRY.TYPE,
  'sizeof(struct boot_e820_entry)': E820_ENTRY.BYTES,
  E820_MAX_ENTRIES_ZEROPAGE: E820_MAX_ENTRIES,
  'sizeof(struct boot_params)': 4096,
  LOADED_HIGH,
  XLF_KERNEL_64,
};

const MACHINE_NAMES: Readonly<Record<string, string>> = {
  '32-bit x86': 'EM_386',
  MIPS: 'EM_MIPS',
  PowerPC: 'EM_PPC',
  'PowerPC 64': 'EM_PPC64',
  'IBM S/390': 'EM_S390',
  '32-bit ARM': 'EM_ARM',
  ARM64: 'EM_AARCH64',
  'RISC-V': 'EM_RISCV',
  LoongArch: 'EM_LOONGARCH',
};

const { CLASS, DATA, SIZE: ehdrSize, ...ehdr } = EHDR;
const { SIZE: phdrSize, ...phdr } = PHDR;
const { BYTES: shdrSize, ...shdr } = SHDR;
const elf: Claims = {
  'offsetof(Elf64_Ehdr, e_ident[EI_CLASS])': CLASS,
  'offsetof(Elf64_Ehdr, e_ident[EI_DATA])': DATA,
  ...claims(ehdr, (key) => `offsetof(Elf64_Ehdr, e_${key.toLowerCase()})`),
  'sizeof(Elf64_Ehdr)': ehdrSize,
  ...claims(phdr, (key) => `offsetof(Elf64_Phdr, p_${key.toLowerCase()})`),
  'sizeof(Elf64_Phdr)': phdrSize,
  ...claims(shdr, (key) => `offsetof(Elf64_Shdr, sh_${key.toLowerCase()})`),
  'sizeof(Elf64_Shdr)': shdrSize,
  ...claims(PT, (key) => `PT_${key}`),
  ELFCLASS32: ELF.CLASS_32,
  ELFCLASS64: ELF.CLASS_64,
  ELFDATA2LSB: ELF.LITTLE_ENDIAN,
  ELFDATA2MSB: ELF.BIG_ENDIAN,
  ET_EXEC: ELF.EXECUTABLE,
  EM_X86_64: ELF.X86_64,
  ...Object.fromEntries(
    Object.entries(MACHINES).map(([value, name]) => [MACHINE_NAMES[name]!, Number(value)]),
  ),
};

/**
 * Xen's public/arch-x86/hvm/start_info.h, version 1 of struct hvm_start_info; no package has the header, so the fields stand here
 * in its order and the compiler lays them out.
 */
const XEN = `
struct hvm_start_info {
  uint32_t magic, version, flags, nr_modules;
  uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
  uint32_t memmap_entries, reserved;
};
struct hvm_modlist_entry { uint64_t paddr, size, cmdline_paddr, reserved; };
struct hvm_memmap_table_entry { uint64_t addr, size; uint32_t type, reserved; };
enum { XEN_HVM_MEMMAP_TYPE_RAM = 1, XEN_HVM_MEMMAP_TYPE_RESERVED = 2 };`;

const offsets = (struct: string, { BYTES, ...fields }: Readonly<Record<string, number>>): Claims => ({
  ...claims(fields, (key) => `offsetof(struct ${struct}, ${key.toLowerCase()})`),
  [`sizeof(struct ${struct})`]: BYTES!,
});
const pvh: Claims = {
  ...offsets('hvm_start_info', START_INFO),
  ...offsets('hvm_modlist_entry', MODLIST_ENTRY),
  ...offsets('hvm_memmap_table_entry', MEMMAP_ENTRY),
  XEN_HVM_MEMMAP_TYPE_RAM: E820.RAM,
  XEN_HVM_MEMMAP_TYPE_RESERVED: E820.RESERVED,
};

describe.each([
  {
    what: 'the boot parameters',
    header: 'asm/bootparam.h',
    declarations: '',
    expected: bootparam,
    least: 30,
  },
  { what: 'the ELF constants', header: 'elf.h', declarations: '', expected: elf, least: 30 },
  { what: 'the PVH structures', header: 'stdint.h', declarations: XEN, expected: pvh, least: 15 },
])('$what', ({ header, declarations, expected, least }) => {
  const actual = evaluateC([header], Object.keys(expected), declarations);

  it(`claims at least ${least} things`, () => {
    expect(Object.keys(expected).length).toBeGreaterThanOrEqual(least);
  });

  it.each(Object.entries(expected))('%s is %i', (expression, value) => {
    expect(Number(actual.get(expression))).toBe(value);
  });
});
