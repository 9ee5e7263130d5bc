/**
 * The composition root: a configuration becomes a machine with a guest in it, top to bottom. Nothing runs yet.
 * Runs on: main.
 */
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { ConfigError } from '../base/errors.js';
import { Resources } from '../base/resources.js';
import { formatSize } from '../base/units.js';
import { BOOT_TIMER, COM1, IRQ, ramRanges } from '../boot/layout.js';
import type { ResolvedConfig } from '../config/schema.js';
import { ACPI_PM, AcpiPm } from '../devices/legacy/acpi-pm.js';
import { I8042 } from '../devices/legacy/i8042.js';
import { RTC_INDEX, RTC_PORTS, Rtc } from '../devices/legacy/rtc.js';
import { SERIAL_PORTS, SerialPort } from '../devices/legacy/serial.js';
import * as small from '../devices/legacy/small.js';
import type { VcpuEnd } from '../vcpu/loop.js';
import { ConsoleLog } from './console-log.js';
import { ConsoleStream } from './console-stream.js';
import type { ContentPlanner } from './content.js';
import type { GuestDevices } from './guest-devices.js';
import type { Watched } from './halt-watch.js';
import { detectHostKind, type HostKind } from './host-kind.js';
import { type CpuModel, Machine } from './machine.js';
import { Phases } from './phases.js';
import type { AttachedDevice, DeviceEvents } from './virtio-slots.js';

const PAGE = 0x1000;

/** What the guest may ask of the machine, and what its devices have to tell. */
export interface GuestRequests extends DeviceEvents {
  readonly onReset: () => void;
  readonly onPowerOff: () => void;
  readonly onExit: (code: number) => void;
}

export interface Guest {
  readonly machine: Machine;
  readonly virtio: readonly AttachedDevice[];
  readonly console: ConsoleStream;
  /** The power button; a flat guest has none. */
  readonly power: AcpiPm | undefined;
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

/** @throws ConfigError, KernelError, HostError, VmmError; nothing is left behind then */
export function buildGuest(
  config: ResolvedConfig,
  plan: ContentPlanner,
  devices: GuestDevices,
  requests: GuestRequests,
  cpu?: CpuModel,
): Guest {
  using files = new Resources();
  const phases = new Phases();
  const host = detectHostKind();
  const flat = config.flat !== undefined;
  checkHostMemory(config.memory.size);
  if (config.affinity.length > 0) checkHostCpus(config.affinity);
  const prepare = plan(config, files, host);
  phases.mark('planned');

  using resources = new Resources();
  const machine = resources.use(
    new Machine({
      ram: ramRanges(config.memory.size),
      pages: config.memory.pages,
      cpus: config.cpus,
      affinity: config.affinity,
      irqchip: !flat || config.flat.irqchip,
      cpu,
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
  machine.pio.claim(small.DEBUG_PORT, small.DEBUG_PORTS, 'debug', small.debugPort(onOutput));
  let power: AcpiPm | undefined;
  if (flat) machine.pio.claim(small.EXIT_PORT, 4, 'exit', small.exitPort(requests.onExit));
  else {
    power = new AcpiPm({ irq: machine.interrupt(IRQ.GED), ...requests });
    machine.pio.claim(ACPI_PM.base, ACPI_PM.length, 'acpi-pm', power);
  }
  machine.mmio.claim(
    BOOT_TIMER,
    PAGE,
    'boot-timer',
    small.bootTimer((value) => {
      if (value === small.BOOTED) phases.mark('booted');
    }),
  );
  const virtio = devices.attach(machine, requests);
  phases.mark('created');

  const content = prepare(machine, virtio);
  if (content.pit) machine.addPit();
  else if (!flat)
    for (const [base, length] of small.TIMER_PORTS)
      machine.pio.claim(base, length, 'no-pit', small.absentTimer);
  content.fill(machine);
  phases.mark('loaded');
  machine.prepare(content.entry);
  phases.mark('ready');
  resources.move();
  return {
    machine,
    virtio,
    console,
    power,
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

/** Memory is not reserved, so a guest larger than its host would start, and be killed in the middle of its work. */
function checkHostMemory(size: number): void {
  if (size <= totalmem()) return;
  const message = `${formatSize(size)} is more than this host has (${formatSize(totalmem())})`;
  throw new ConfigError([{ path: 'memory.size', message }]);
}

/** @throws ConfigError that names each host CPU that is not there */
function checkHostCpus(affinity: ResolvedConfig['affinity']): void {
  const list = readFileSync('/sys/devices/system/cpu/online', 'latin1').trim();
  const ranges = list.split(',').map((range) => range.split('-').map(Number));
  const online = (cpu: number): boolean => ranges.some(([a = 0, b = a]) => cpu >= a && cpu <= b);
  const issues = affinity.flatMap((cpus, index) =>
    cpus
      .filter((cpu) => !online(cpu))
      .map((cpu) => ({ path: `affinity.${index}`, message: `this host has no CPU ${cpu}, only ${list}` })),
  );
  if (issues.length > 0) throw new ConfigError(issues);
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
