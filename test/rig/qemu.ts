/**
 * QEMU's command line for the rig's machine: a PC without firmware, emulated (TCG), with AMD's virtualization and nested
 * paging. The rule: every odd-looking choice here ended a hang or a crash; measure 50 boots before undoing one.
 * Runs on: main.
 */
import { readFileSync } from 'node:fs';
import type { Machine } from './machine.js';

export interface QemuOptions {
  readonly machine: Machine;
  readonly cpus: number;
  readonly memoryMib: number;
  /** Where the sockets are and the console's log goes. */
  readonly file: (name: string) => string;
  /** One file system per tag; a virtiofsd listens at the socket of that name. */
  readonly tags: readonly string[];
  readonly verbose: boolean;
}

/** virtio-serial ports in their order from 1; serve.sh knows the same order. Sockets of these names. */
export const PORTS = ['control', 'out', 'err', 'in'] as const;

/**
 * A CPU with everything TCG has, but five-level paging and fast string copies: with them guests inside crashed, and with fsrm the
 * machine itself does not start on QEMU 10.
 */
const CPU = 'max,+svm,+npt,-la57,-erms,-fsrm';
/** CONFIG_HZ of Debian's kernels. */
const HZ = 250;

export function qemuArguments({ machine, cpus, memoryMib, file, tags, verbose }: QemuOptions): string[] {
  const kernelArguments = [
    'console=ttyS0 panic=-1 oops=panic',
    verbose ? 'loglevel=7' : 'quiet loglevel=4',
    // The other CPUs come up in init.sh. Kernel text must not be patched for their sake (QEMU's translations race).
    'maxcpus=1 noreplace-smp',
    // No calibration: it is slow and, on a busy host, wrong.
    `lpj=${loopsPerJiffy()} tsc=reliable no_timer_check`,
    'mitigations=off nokaslr audit=0 random.trust_cpu=on cryptomgr.notests rcupdate.rcu_expedited=1',
    'clearcpuid=112', // X86_FEATURE_REP_GOOD, 3*32+16: string instructions are the slow way here
  ];
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none', '-no-reboot'],
    // Machine type microvm, and translation in one thread, both hung.
    ...['-M', 'pc,memory-backend=ram,vmport=off,smbus=off,usb=off', '-bios', 'qboot.rom'],
    ...['-accel', 'tcg,thread=multi', '-cpu', CPU, '-smp', String(cpus), '-m', String(memoryMib)],
    ...['-object', `memory-backend-memfd,id=ram,size=${memoryMib}M,share=on`], // virtiofsd maps it too
    ...['-kernel', machine.kernel, '-initrd', machine.initrd, '-append', kernelArguments.join(' ')],
    ...['-serial', `file:${file('console.log')}`],
    ...['-device', `virtio-serial-pci,max_ports=${PORTS.length + 1}`],
    ...PORTS.flatMap((name, index) => [
      ...['-chardev', `socket,id=${name},path=${file(name)},server=on,wait=off`],
      ...['-device', `virtserialport,chardev=${name},name=rig.${name},nr=${index + 1}`],
    ]),
    ...tags.flatMap((tag) => [
      ...['-chardev', `socket,id=${tag},path=${file(tag)}`],
      ...['-device', `vhost-user-fs-pci,chardev=${tag},tag=${tag},queue-size=1024`],
    ]),
  ];
}

/** Arguments of the virtiofsd that serves `folder`. `fixed`: nobody changes it meanwhile, so the machine may cache all. */
export function virtiofsdArguments(socket: string, folder: string, fixed: boolean): string[] {
  const options = `source=${folder},sandbox=chroot,cache=${fixed ? 'always' : 'auto'},log_level=err`;
  return [`--socket-path=${socket}`, '-f', '-o', options, '--thread-pool-size=0'];
}

/** What the kernel would find by calibration: TSC ticks in a jiffy; TCG's TSC runs like the host's. */
function loopsPerJiffy(): number {
  const cpuinfo = readFileSync('/proc/cpuinfo', 'utf8');
  const megahertz = [...cpuinfo.matchAll(/^cpu MHz\s*: ([\d.]+)/gm)].map((match) => Number(match[1]));
  return Math.round((Math.max(2000, ...megahertz) * 1e6) / HZ);
}
