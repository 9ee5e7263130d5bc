import { describe, expect, it } from 'vitest';
import { ConfigError, KernelError } from '../../../src/base/errors.js';
import { GiB, gpa, MiB } from '../../../src/base/units.js';
import {
  CMDLINE,
  EBDA,
  GDT,
  PML4,
  PVH_START_INFO,
  RSDP,
  ramRanges,
  VM_GENERATION_ID,
  ZERO_PAGE,
} from '../../../src/boot/layout.js';
import { type BootProtocol, planLinux, writeLinuxTables } from '../../../src/boot/linux.js';
import { readerOf } from '../../../src/boot/reader.js';
import { ACPI_PM } from '../../../src/devices/legacy/acpi-pm.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';
import { bzImage } from '../../support/bzimage.js';
import { elfImage, SMALL_ELF } from '../../support/images.js';
import { elfWithNotes } from '../../support/notes.js';

const WITH_PVH = elfWithNotes(SMALL_ELF, [{ owner: 'Xen', type: 18, words: [0x10_0010] }]);

function plan(
  image: Uint8Array,
  {
    protocol = 'auto',
    memory = 64 * MiB,
    initrdSize,
  }: { protocol?: 'auto' | BootProtocol; memory?: number; initrdSize?: number } = {},
) {
  return planLinux({ kernel: readerOf(image), initrdSize, ram: ramRanges(memory), protocol });
}

describe('a plan to boot Linux', () => {
  it('enters a vmlinux at its entry, in long mode', () => {
    const { image, protocol, entry, initrd, cmdlineLimit, setupHeader } = plan(elfImage(SMALL_ELF));
    expect({ image, protocol, initrd, cmdlineLimit, setupHeader }).toEqual({
      image: 'elf',
      protocol: 'linux64',
      initrd: undefined,
      cmdlineLimit: 2047,
      setupHeader: undefined,
    });
    expect(entry.regs.rip).toBe(0x10_0000n);
    expect(entry.sregs.cs?.l).toBe(1);
  });

  it('enters it by PVH only when asked to', () => {
    expect(plan(WITH_PVH)).toMatchObject({ protocol: 'linux64' });
    const { protocol, entry } = plan(WITH_PVH, { protocol: 'pvh' });
    expect(protocol).toBe('pvh');
    expect(entry.regs.rip).toBe(0x10_0010n);
    expect(entry.sregs.cs?.l).toBe(0);
  });

  it('refuses PVH for a kernel without such an entry', () => {
    expect(() => plan(elfImage(SMALL_ELF), { protocol: 'pvh' })).toThrow(ConfigError);
    expect(() => plan(bzImage(), { protocol: 'pvh' })).toThrow(/^boot: this kernel has no PVH entry/);
  });

  it('takes a bzImage with its header and its own limits', () => {
    const planned = plan(bzImage({ cmdlineSize: 255, initrdMax: 0x2ff_ffff }), { initrdSize: 0x1000 });
    expect(planned).toMatchObject({
      image: 'bzImage',
      cmdlineLimit: 255,
      initrd: { base: 0x2ff_f000, size: 0x1000 },
    });
    expect(planned.setupHeader?.length).toBeGreaterThan(0x60);
    expect(plan(bzImage({ cmdlineSize: 0 })).cmdlineLimit).toBe(2047);
    expect(plan(bzImage({ cmdlineSize: 65_536 })).cmdlineLimit).toBe(2047);
  });

  it('puts the initrd behind the kernel, below the gap', () => {
    expect(plan(elfImage(SMALL_ELF), { memory: 16 * GiB, initrdSize: MiB }).initrd?.base).toBe(3 * GiB - MiB);
    expect(() => plan(bzImage(), { memory: 20 * MiB, initrdSize: MiB })).toThrow(/the initrd needs 1 MiB/);
    expect(() => plan(elfImage(SMALL_ELF), { initrdSize: 0 })).toThrow('the initrd is empty');
  });

  it('refuses a kernel above the GiB that is mapped at its entry, but not by PVH', () => {
    const high = {
      entry: 2 * GiB,
      segments: [{ address: 2 * GiB, fileSize: 0x1000 }],
    };
    const image = elfWithNotes(high, [{ owner: 'Xen', type: 18, words: [2 * GiB] }]);
    expect(() => plan(image, { memory: 4 * GiB })).toThrow(KernelError);
    expect(() => plan(image, { memory: 4 * GiB })).toThrow(/only the first GiB is mapped/);
    expect(plan(image, { memory: 4 * GiB, protocol: 'pvh' }).entry.regs.rip).toBe(BigInt(2 * GiB));
  });

  it('tells which hosts the kernel copes with', () => {
    const image = elfWithNotes(SMALL_ELF, [{ owner: 'Typevisor', type: 1, words: [3] }]);
    expect(plan(image).hostFeatures).toBe(3);
    expect(plan(bzImage()).hostFeatures).toBe(0);
  });

  it('reports what is no kernel at all first', () => {
    expect(() => plan(new Uint8Array(100), { initrdSize: 0 })).toThrow('neither an ELF file nor a bzImage');
  });
});

describe('the tables for a boot', () => {
  function write(image: Uint8Array, protocol: BootProtocol, cmdline: string, ramSize = 5 * GiB) {
    const low = new Uint8Array(MiB);
    const memory = GuestMemory.over(low);
    const ram = ramRanges(ramSize);
    const planned = planLinux({ kernel: readerOf(image), initrdSize: 0x1000, ram, protocol });
    const acpi = {
      cpus: 2,
      virtio: [],
      serial: { port: 0x3f8, gsi: 4 },
      rtc: { port: 0x70 },
      power: { ...ACPI_PM, gsi: 9 },
    };
    writeLinuxTables(memory, planned, { cmdline, ram, acpi, generation: new Uint8Array(16).fill(0xaa) });
    return { low, memory };
  }

  it('by the 64-bit protocol: zero page with all memory, page tables, command line, MP table, ACPI', () => {
    const { low, memory } = write(elfImage(SMALL_ELF), 'linux64', 'quiet');
    expect(memory.readU8(gpa(ZERO_PAGE + 0x1e8))).toBe(4); // RAM above 4 GiB is the fourth
    expect(memory.readU64(gpa(ZERO_PAGE + 0x2d0 + 3 * 20))).toBe(BigInt(4 * GiB));
    expect(memory.readU64(gpa(ZERO_PAGE + 0x2d0 + 3 * 20 + 8))).toBe(BigInt(2 * GiB));
    expect(memory.readU32(gpa(ZERO_PAGE + 0x218))).toBe(3 * GiB - 0x1000);
    expect(memory.readU64(PML4)).not.toBe(0n);
    expect(memory.readU64(gpa(GDT + 0x10))).toBe(0x00af_9b00_0000_ffffn);
    expect(Buffer.from(low.subarray(CMDLINE, CMDLINE + 6)).toString()).toBe('quiet\0');
    expect(Buffer.from(low.subarray(EBDA, EBDA + 4)).toString()).toBe('_MP_');
    expect(memory.readU64(gpa(ZERO_PAGE + 0x070))).toBe(BigInt(RSDP));
    expect(Buffer.from(low.subarray(RSDP, RSDP + 8)).toString()).toBe('RSD PTR ');
    expect(memory.readU64(VM_GENERATION_ID)).toBe(0xaaaa_aaaa_aaaa_aaaan);
    expect(memory.readU32(PVH_START_INFO)).toBe(0);
  });

  it('by PVH: start info instead of zero page, no page tables, 32-bit code', () => {
    const { memory } = write(WITH_PVH, 'pvh', 'quiet');
    expect(memory.readU32(PVH_START_INFO)).toBe(0x336e_c578);
    expect(memory.readU32(gpa(PVH_START_INFO + 12))).toBe(1);
    expect(memory.readU64(gpa(PVH_START_INFO + 32))).toBe(BigInt(RSDP));
    expect(memory.readU32(gpa(PVH_START_INFO + 48))).toBe(4);
    expect(memory.readU64(PML4)).toBe(0n);
    expect(memory.readU64(gpa(GDT + 0x10))).toBe(0x00cf_9b00_0000_ffffn);
    expect(memory.readU32(gpa(ZERO_PAGE + 0x202))).toBe(0);
  });

  it('refuse a command line longer than this kernel takes', () => {
    const image = bzImage({ cmdlineSize: 100 });
    expect(() => write(image, 'linux64', 'x'.repeat(101))).toThrow('cmdline: is 101 bytes long, 100 fit');
  });
});
