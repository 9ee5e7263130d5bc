/**
 * Linux as a machine's content: kernel, initrd, command line, and the tables that describe the machine.
 * Runs on: main.
 */
import { KernelError } from '../base/errors.js';
import { addParameters, hasParameter } from '../boot/cmdline.js';
import { HOST_FEATURE } from '../boot/elf-notes.js';
import { COM1, IRQ, ramRanges, VM_GENERATION_ID_SIZE } from '../boot/layout.js';
import { type LinuxPlan, planLinux, writeLinuxTables } from '../boot/linux.js';
import type { ResolvedConfig } from '../config/schema.js';
import { ACPI_PM } from '../devices/legacy/acpi-pm.js';
import { RTC_INDEX } from '../devices/legacy/rtc.js';
import { randomBytes } from '../host/libc.js';
import { WINDOW } from '../virtio/mmio-registers.js';
import { type ContentPlanner, copyLoads } from './content.js';
import { type GuestFile, openGuestFile } from './guest-file.js';
import { hostParameters } from './host-kind.js';
import { needsPit } from './pit.js';
import type { AttachedDevice } from './virtio-slots.js';

/** Who puts the guest's agent into its initrd. */
export interface AgentPacker {
  /** For the kernel's command line: it starts the agent. */
  readonly parameter: string;
  pack(initrd: GuestFile | undefined): GuestFile;
}

/** @param agent for a configuration that wants one */
export const linuxPlanner =
  (agent?: AgentPacker): ContentPlanner =>
  (config, files, host) => {
    const kernel = files.use(openGuestFile('kernel', config.kernel));
    const given = config.initrd === undefined ? undefined : files.use(openGuestFile('initrd', config.initrd));
    const initrd = agent ? agent.pack(given) : given;
    const ram = ramRanges(config.memory.size);
    const plan = planLinux({ kernel, initrdSize: initrd?.size, ram, protocol: config.boot });
    if (host === 'software' && config.hostCheck === 'refuse') refuseForeignKernel(plan);
    return (machine, virtio) => {
      const { tscKhz, hasDeadlineTimer } = machine;
      const { version } = plan;
      const pit = needsPit({ host, version, cmdline: config.cmdline, hasDeadlineTimer, tscKhz });
      const defaults = withDefaults(config, plan, agent);
      // Without a PIT nothing is there to measure it by, for kernels that do not ask kvm-clock.
      const clock = pit ? [] : [`tsc_early_khz=${tscKhz}`];
      const wanted = addParameters(defaults, [...clock, ...virtio.map(announce)]);
      const added = hostParameters(host, wanted, tscKhz);
      const cmdline = addParameters(wanted, added);
      const notices =
        added.length === 0
          ? []
          : [`this host's KVM emulates guest kernel code; added to the command line: ${added.join(' ')}`];
      return {
        entry: plan.entry,
        cmdline,
        notices,
        pit,
        fill({ ram: { memory } }) {
          const acpi = {
            cpus: config.cpus,
            virtio,
            serial: { port: COM1, gsi: IRQ.COM1 },
            rtc: { port: RTC_INDEX },
            power: { ...ACPI_PM, gsi: IRQ.GED },
          };
          const generation = new Uint8Array(VM_GENERATION_ID_SIZE);
          randomBytes(generation);
          writeLinuxTables(memory, plan, { cmdline, ram, acpi, generation });
          copyLoads(kernel, plan.loads, machine);
          if (initrd && plan.initrd) initrd.copyTo(machine.ram, 0, plan.initrd.base, plan.initrd.size);
        },
      };
    };
  };

/**
 * A serial console, a reset that ends the VM, and a panic that does; and no search for what this machine does not have:
 * unless the user says otherwise.
 */
const DEFAULT_PARAMETERS = ['console=ttyS0', 'reboot=k', 'panic=-1', 'i8042.noaux', 'i8042.nokbd'];
/** For kernels that may have drivers for it; others would hand the words to /init. */
const NO_PCI = 'pci=off';

function withDefaults(config: ResolvedConfig, { hostFeatures }: LinuxPlan, agent?: AgentPacker): string {
  const { cmdline, disks, initrd } = config;
  const words = [...DEFAULT_PARAMETERS];
  // Our own kernels carry the note and are built without PCI.
  if (hostFeatures === 0) words.push(NO_PCI);
  // Without an initrd, which would know better, the first disk is the root.
  if (disks[0] && !initrd && !hasParameter(cmdline, 'root')) {
    words.push('root=/dev/vda');
    if (!hasParameter(cmdline, 'ro') && !hasParameter(cmdline, 'rw'))
      words.push(disks[0].readOnly ? 'ro' : 'rw');
  }
  if (agent) words.push(agent.parameter);
  const missing = words.filter((word) => !hasParameter(cmdline, word.split('=')[0]!));
  // The last one named is /dev/console; the serial port stays one, for what is said before virtio is there.
  if (config.console && !hasParameter(cmdline, 'console')) missing.push('console=hvc0');
  return addParameters(cmdline, missing);
}

/** How kernels without ACPI find a device (Linux drivers/virtio/virtio_mmio.c). */
const announce = ({ base, gsi }: AttachedDevice): string =>
  `virtio_mmio.device=${WINDOW / 1024}K@0x${base.toString(16)}:${gsi}`;

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
