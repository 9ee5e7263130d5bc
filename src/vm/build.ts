/**
 * The composition root: a configuration becomes a machine with a guest in it, top to bottom. Nothing runs yet.
 * Runs on: main.
 */
import { KernelError } from '../base/errors.js';
import { Resources } from '../base/resources.js';
import { gpa } from '../base/units.js';
import { addParameters, hasParameter } from '../boot/cmdline.js';
import type { Load } from '../boot/elf.js';
import { HOST_FEATURE } from '../boot/elf-notes.js';
import type { EntryState } from '../boot/entry-state.js';
import { planFlat, writeFlatTables } from '../boot/flat.js';
import { BOOT_TIMER, IRQ, ramRanges } from '../boot/layout.js';
import { type LinuxPlan, planLinux, writeLinuxTables } from '../boot/linux.js';
import type { ResolvedConfig } from '../config/schema.js';
import { I8042 } from '../devices/legacy/i8042.js';
import { RTC_INDEX, RTC_PORTS, Rtc } from '../devices/legacy/rtc.js';
import { SERIAL_PORTS, SerialPort } from '../devices/legacy/serial.js';
import * as small from '../devices/legacy/small.js';
import type { VcpuEnd } from '../vcpu/loop.js';
import { ConsoleLog } from './console-log.js';
import { ConsoleStream } from './console-stream.js';
import { type GuestFile, openGuestFile } from './guest-file.js';
import type { Watched } from './halt-watch.js';
import { detectHostKind, type HostKind, hostParameters } from './host-kind.js';
import { Machine } from './machine.js';
import { Phases } from './phases.js';

const COM1 = 0x3f8;
const PAGE = 0x1000;

/** What the guest may ask of the machine. */
export interface GuestRequests {
  readonly onReset: () => void;
  readonly onExit: (code: number) => void;
}

export interface Guest {
  readonly machine: Machine;
  readonly console: ConsoleStream;
  readonly log: ConsoleLog;
  readonly phases: Phases;
  readonly flat: boolean;
  readonly cmdline: string | undefined;
  /** What was done because of this host, a sentence each. */
  readonly notices: readonly string[];
  readonly watched: Watched;
  /** Bytes the guest wrote to its console. */
  readonly outputBytes: number;
  crashHint(end: VcpuEnd): string | undefined;
}

/** What an image plan leaves to be done. */
interface Content {
  readonly entry: EntryState;
  readonly cmdline: string | undefined;
  readonly notices: readonly string[];
  fill(machine: Machine): void;
}

/** @throws ConfigError, KernelError, HostError, VmmError; nothing is left behind then */
export function buildGuest(config: ResolvedConfig, requests: GuestRequests): Guest {
  using files = new Resources();
  const phases = new Phases();
  const host = detectHostKind();
  const flat = config.flat !== undefined;
  const prepare = flat ? planFlatContent(config, files) : planLinuxContent(config, files, host);
  phases.mark('planned');

  using resources = new Resources();
  const machine = resources.use(
    new Machine({
      ram: ramRanges(config.memory.size),
      pages: config.memory.pages,
      cpus: config.cpus,
      irqchip: !flat || config.flat.irqchip,
    }),
  );
  const log = new ConsoleLog();
  let outputBytes = 0;
  const onOutput = (bytes: Uint8Array): void => {
    phases.mark('first-output');
    outputBytes += bytes.length;
    log.append(bytes);
    console.deliver(bytes);
  };
  const com1 = new SerialPort({
    base: COM1,
    irq: machine.interrupt(IRQ.COM1),
    page: machine.page,
    onOutput,
    holdInput: !flat,
  });
  const console = new ConsoleStream(com1);
  machine.pio.claim(COM1, SERIAL_PORTS, 'com1', com1);
  new I8042(requests.onReset).claim(machine.pio);
  machine.pio.claim(RTC_INDEX, RTC_PORTS, 'rtc', new Rtc(Date.now));
  machine.pio.claim(small.POST_PORT, 1, 'post', small.ignoredPort);
  machine.pio.claim(small.SYSTEM_CONTROL_A, 1, 'port-a', small.systemControlA(requests.onReset));
  machine.pio.claim(small.DEBUG_PORT, 1, 'debug', small.debugPort(onOutput));
  if (flat) machine.pio.claim(small.EXIT_PORT, 4, 'exit', small.exitPort(requests.onExit));
  machine.mmio.claim(
    BOOT_TIMER,
    PAGE,
    'boot-timer',
    small.bootTimer((value) => {
      if (value === small.BOOTED) phases.mark('booted');
    }),
  );
  phases.mark('created');

  const content = prepare(machine);
  content.fill(machine);
  phases.mark('loaded');
  machine.prepare(content.entry);
  phases.mark('ready');
  resources.move();
  return {
    machine,
    console,
    log,
    phases,
    flat,
    cmdline: content.cmdline,
    notices: content.notices,
    watched: watchOf(machine),
    get outputBytes() {
      return outputBytes;
    },
    crashHint: (end) => crashHint(end, host),
  };
}

function planFlatContent(config: ResolvedConfig, files: Resources): () => Content {
  const image = files.use(openGuestFile('flat', config.kernel));
  const { load, entry, mode } = config.flat!;
  const plan = planFlat(
    image.size,
    { load: gpa(load), entry: gpa(entry), mode },
    ramRanges(config.memory.size),
  );
  return () => ({
    entry: plan.entry,
    cmdline: undefined,
    notices: [],
    fill(machine) {
      copyLoads(image, plan.loads, machine);
      writeFlatTables(machine.ram.memory, plan);
    },
  });
}

function planLinuxContent(
  config: ResolvedConfig,
  files: Resources,
  host: HostKind,
): (machine: Machine) => Content {
  const kernel = files.use(openGuestFile('kernel', config.kernel));
  const initrd = config.initrd === undefined ? undefined : files.use(openGuestFile('initrd', config.initrd));
  const ram = ramRanges(config.memory.size);
  const plan = planLinux({ kernel, initrdSize: initrd?.size, ram, protocol: config.boot });
  if (host === 'software' && config.hostCheck === 'refuse') refuseForeignKernel(plan);
  return (machine) => {
    const wanted = withDefaults(config.cmdline);
    const added = hostParameters(host, wanted, machine.tscKhz);
    const cmdline = addParameters(wanted, added);
    const notices =
      added.length === 0
        ? []
        : [`this host's KVM emulates guest kernel code; added to the command line: ${added.join(' ')}`];
    return {
      entry: plan.entry,
      cmdline,
      notices,
      fill({ ram: { memory } }) {
        writeLinuxTables(memory, plan, { cmdline, cpus: config.cpus, ram });
        copyLoads(kernel, plan.loads, machine);
        if (initrd && plan.initrd) initrd.copyTo(machine.ram, 0, plan.initrd.base, plan.initrd.size);
      },
    };
  };
}

/** Fresh RAM is zero: what a segment has beyond its file bytes needs no writing. */
function copyLoads(image: GuestFile, loads: readonly Load[], machine: Machine): void {
  for (const { at, offset, fileSize } of loads) {
    if (fileSize > 0) image.copyTo(machine.ram, offset, at, fileSize);
  }
}

/** A serial console, a reset that ends the VM, and a panic that does: unless the user says otherwise. */
const DEFAULT_PARAMETERS = ['console=ttyS0', 'reboot=k', 'panic=-1'];

function withDefaults(cmdline: string): string {
  const missing = DEFAULT_PARAMETERS.filter((word) => !hasParameter(cmdline, word.split('=')[0]!));
  return addParameters(cmdline, missing);
}

function refuseForeignKernel({ image, hostFeatures }: LinuxPlan): void {
  if (hostFeatures & HOST_FEATURE.SYSCALL_BY_FAULT) return;
  const why =
    image === 'bzImage'
      ? 'it would unpack itself in an emulator for minutes, and SYSCALL stays in user mode there'
      : 'SYSCALL stays in user mode there and the image does not say that it copes';
  throw new KernelError(
    `this kernel cannot run on this host's KVM, which emulates guest kernel code (kvm-pvm): ${why}`,
    {
      code: 'ERR_KERNEL_HOST',
      hint: 'use the lean kernel of guest-kernels/, or a host with VT-x or AMD-V',
    },
  );
}

function watchOf(machine: Machine): Watched {
  return {
    progress: () =>
      machine.vcpus.reduce((sum, { thread, loop }) => sum + thread.answered + loop.stats.total, 0),
    isHaltedForGood: () => machine.isHaltedForGood(),
  };
}

function crashHint(end: VcpuEnd, host: HostKind): string | undefined {
  if (end.kind !== 'internal-error' || host !== 'software') return undefined;
  return "this host's KVM emulates guest kernel code and does not know every instruction; use the lean kernel of guest-kernels/";
}
