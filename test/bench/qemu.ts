/**
 * The peer: Debian's QEMU, as a microvm with as little in it as the guest at hand needs, which is what starts fastest.
 * Runs on: main.
 */
import { readFileSync } from 'node:fs';
import { ensureInstalled } from '../../guest-kernels/debian-install.js';
import type { Context } from './benchmark.js';

export const QEMU = 'qemu-system-x86_64';
/** What isa-debug-exit makes of the 0 that a guest writes. */
export const QEMU_EXIT_0 = 1;

export const ensureQemu = ({ progress }: Pick<Context, 'progress'>): Promise<void> =>
  ensureInstalled(['qemu-system-x86'], { reason: 'the benchmarks’ peer', progress });

/** KVM offers AMD's hosts an Intel MSR, IA32_ARCH_CAPABILITIES, whose value some do not take: this QEMU gives up then. */
const CPU = /^vendor_id\s*: AuthenticAMD$/m.test(readFileSync('/proc/cpuinfo', 'latin1'))
  ? 'host,arch-capabilities=off'
  : 'host';

interface Microvm {
  readonly memoryMib: number;
  /** Devices of a PC that Linux looks for: PIC, PIT and RTC. */
  readonly legacy: boolean;
  /** For kernels that find devices in no other way. */
  readonly acpi?: boolean;
  readonly more: readonly string[];
}

function microvm({ memoryMib, legacy, acpi = false, more }: Microvm): string[] {
  const on = legacy ? 'on' : 'off';
  const tables = acpi ? 'on' : 'off';
  const machine = `microvm,x-option-roms=off,acpi=${tables},isa-serial=on,pic=${on},pit=${on},rtc=${on}`;
  const host = ['-enable-kvm', '-cpu', CPU, '-m', String(memoryMib), '-smp', '1'];
  const bare = ['-nodefaults', '-no-user-config', '-nographic', '-no-reboot', '-serial', 'stdio'];
  return [QEMU, '-M', machine, ...host, ...bare, ...more];
}

/** A flat guest as firmware: 64 KiB below 1 MiB, started at the reset vector. It ends by writing 0 to port 0xf4. */
export const qemuFirmware = (image: string, memoryMib: number): string[] =>
  microvm({
    memoryMib,
    legacy: false,
    more: ['-bios', image, '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
  });

export interface LinuxGuest {
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
  readonly memoryMib: number;
}

export const qemuLinux = ({ kernel, initrd, cmdline, memoryMib }: LinuxGuest): string[] =>
  microvm({
    memoryMib,
    legacy: true,
    more: ['-kernel', kernel, '-initrd', initrd, '-append', cmdline],
  });

export interface QemuDisk {
  /** The guest finds it by this, as its serial. */
  readonly id: string;
  readonly path: string;
  /** Past the host's page cache. */
  readonly direct: boolean;
  readonly readOnly?: boolean;
}

/** The same with raw disks as virtio-mmio block devices. */
export const qemuDisks = (
  { kernel, initrd, cmdline, memoryMib }: LinuxGuest,
  disks: readonly QemuDisk[],
  aio: 'io_uring' | 'threads',
): string[] =>
  microvm({
    memoryMib,
    legacy: true,
    more: [
      ...['-kernel', kernel, '-initrd', initrd, '-append', cmdline],
      ...disks.flatMap(({ id, path, direct, readOnly }) => [
        '-drive',
        `if=none,id=${id},file=${path},format=raw,aio=${aio},cache=${direct ? 'none' : 'writeback'}${readOnly ? ',readonly=on' : ''}`,
        '-device',
        `virtio-blk-device,drive=${id},serial=${id}`,
      ]),
    ],
  });

/** A direct boot of Linux with one more device. */
const qemuWith = (
  { kernel, initrd, cmdline, memoryMib }: LinuxGuest,
  acpi: boolean,
  device: readonly string[],
): string[] => {
  const boot = ['-kernel', kernel, '-initrd', initrd, '-append', cmdline];
  return microvm({ memoryMib, legacy: true, acpi, more: [...boot, ...device] });
};

/** The same with a virtio-mmio network card. @param netdev what it is connected to, without its id */
export const qemuNetwork = (guest: LinuxGuest, netdev: string, acpi: boolean): string[] =>
  qemuWith(guest, acpi, ['-netdev', `${netdev},id=net0`, '-device', 'virtio-net-device,netdev=net0']);

/**
 * The same with a virtio-mmio socket device, which is the host kernel's. vhost-vsock has no legacy form, and this QEMU's virtio-mmio is
 * legacy unless told otherwise.
 */
export const qemuVsock = (guest: LinuxGuest, cid: number, acpi: boolean): string[] =>
  qemuWith(guest, acpi, [
    '-global',
    'virtio-mmio.force-legacy=false',
    '-device',
    `vhost-vsock-device,guest-cid=${cid}`,
  ]);
