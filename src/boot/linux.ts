/**
 * Booting Linux directly, without firmware: decide where everything goes (`planLinux`, which writes nothing), then write
 * the tables (`writeLinuxTables`). Kernel and initrd bytes are the caller's to copy, by `loads` and `initrd`.
 */
import { ConfigError, KernelError } from '../base/errors.js';
import { type Gpa, hex } from '../base/units.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { AcpiDescription } from './acpi/description.js';
import { writeAcpiTables } from './acpi/tables.js';
import { planBzImage } from './bzimage.js';
import { encodeCmdline } from './cmdline.js';
import { e820Map } from './e820.js';
import { type Load, planElf } from './elf.js';
import { type EntryState, linux64, pvh } from './entry-state.js';
import { CODE32, CODE64, writeDescriptorTables } from './gdt.js';
import { type ImageKind, identifyKernel } from './image.js';
import { placeInitrd } from './initrd.js';
import { type KernelVersion, kernelVersion } from './kernel-version.js';
import { CMDLINE, CMDLINE_SIZE, kernelRanges, MMIO_GAP, type Range } from './layout.js';
import { writeMpTable } from './mptable.js';
import { MAPPED_END, writePageTables } from './page-tables.js';
import { writeStartInfo } from './pvh.js';
import type { ImageReader } from './reader.js';
import { writeZeroPage } from './zero-page.js';

export type BootProtocol = 'linux64' | 'pvh';

export interface LinuxPlan {
  readonly image: ImageKind;
  readonly protocol: BootProtocol;
  readonly loads: readonly Load[];
  readonly initrd: Range | undefined;
  readonly entry: EntryState;
  readonly setupHeader: Uint8Array | undefined;
  /** Longest command line this kernel takes, bytes without the NUL. */
  readonly cmdlineLimit: number;
  /** Bits of HOST_FEATURE: which hosts the kernel says it copes with. */
  readonly hostFeatures: number;
  /** Of the kernel, if its image tells. */
  readonly version: KernelVersion | undefined;
}

export interface LinuxInput {
  readonly kernel: ImageReader;
  readonly initrdSize: number | undefined; // bytes
  readonly ram: readonly Range[];
  /** `auto`: the 64-bit protocol, which every image has. */
  readonly protocol: 'auto' | BootProtocol;
}

interface ImagePlan {
  readonly entry: Gpa;
  readonly pvhEntry?: Gpa | undefined;
  readonly loads: readonly Load[];
  readonly end: number;
  readonly setupHeader?: Uint8Array;
  readonly initrdMax?: number;
  readonly cmdlineSize?: number;
  readonly hostFeatures?: number;
}

/** @throws KernelError or ConfigError; the first problem in the order a user would look: image, memory, initrd */
export function planLinux({ kernel, initrdSize, ram, protocol }: LinuxInput): LinuxPlan {
  const kind = identifyKernel(kernel);
  const ranges = kernelRanges(ram);
  const image: ImagePlan = kind === 'elf' ? planElf(kernel, ranges) : planBzImage(kernel, ranges);
  if (protocol !== 'pvh' && image.end > MAPPED_END) {
    throw new KernelError(
      `the kernel ends at ${hex(image.end)}; only the first GiB is mapped when it starts`,
      {
        hint: 'link it to lower addresses (CONFIG_PHYSICAL_START), or boot it by PVH, which needs no page tables',
      },
    );
  }
  if (initrdSize === 0) throw new KernelError('the initrd is empty');
  const initrd =
    initrdSize === undefined
      ? undefined
      : placeInitrd(initrdSize, ram, image.end, image.initrdMax ?? MMIO_GAP - 1);
  return {
    image: kind,
    protocol: protocol === 'pvh' ? 'pvh' : 'linux64',
    loads: image.loads,
    initrd,
    entry: protocol === 'pvh' ? pvh(requirePvh(image)) : linux64(image.entry),
    setupHeader: image.setupHeader,
    cmdlineLimit: Math.min(CMDLINE_SIZE - 1, image.cmdlineSize || CMDLINE_SIZE - 1),
    hostFeatures: image.hostFeatures ?? 0,
    version: kernelVersion(kernel, kind),
  };
}

export interface LinuxMachine {
  readonly cmdline: string;
  readonly ram: readonly Range[];
  readonly acpi: AcpiDescription;
  /** The VM's generation id, 16 random bytes. */
  readonly generation: Uint8Array;
}

/** Everything but the images: descriptor tables, page tables, command line, boot parameters, MP table and ACPI. */
export function writeLinuxTables(
  memory: GuestMemory,
  plan: LinuxPlan,
  { cmdline, ram, acpi, generation }: LinuxMachine,
): void {
  const e820 = e820Map(ram);
  writeDescriptorTables(memory, plan.protocol === 'pvh' ? CODE32 : CODE64);
  memory.write(CMDLINE, encodeCmdline(cmdline, plan.cmdlineLimit));
  if (plan.protocol === 'pvh') writeStartInfo(memory, { e820, initrd: plan.initrd });
  else {
    writePageTables(memory);
    writeZeroPage(memory, { setupHeader: plan.setupHeader, e820, initrd: plan.initrd });
  }
  // Both: a kernel that knows ACPI believes it, one without it or with acpi=off the MP table.
  writeMpTable(memory, acpi.cpus);
  writeAcpiTables(memory, acpi, generation);
}

function requirePvh(image: ImagePlan): Gpa {
  if (image.pvhEntry !== undefined) return image.pvhEntry;
  const message = 'this kernel has no PVH entry (a vmlinux built with CONFIG_PVH has one)';
  throw new ConfigError([{ path: 'boot', message }]);
}
