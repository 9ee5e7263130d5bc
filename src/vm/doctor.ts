/**
 * What this host's KVM can do, found out by doing it: a list of findings in plain words, each with a way to fix what is
 * wrong. Nothing is changed on the host.
 * Runs on: main.
 */
import { existsSync, readFileSync } from 'node:fs';
import { VmmError } from '../base/errors.js';
import { Kvm } from '../kvm/kvm.js';
import { detectHostKind, type HostKind } from './host-kind.js';
import { PROBES, type ProbeName, runProbe } from './probe.js';
import { missingCapabilities, REQUIRED_CAPABILITIES } from './requirements.js';

/** One thing that was looked at. */
export interface DoctorCheck {
  /** What, in a few words. */
  readonly name: string;
  /** Whether it is as a guest would like it. */
  readonly ok: boolean;
  /** What was found, a sentence. */
  readonly detail: string;
  /** What to do about it. */
  readonly fix?: string | undefined;
}

/** What this host's KVM can do. */
export interface DoctorReport {
  /** Whether some kernel can run here. */
  readonly ok: boolean;
  /** What kind of KVM it is; `none` when there is none that does. */
  readonly host: HostKind | 'none';
  /** In the order they were made: the later ones need the earlier ones. */
  readonly checks: readonly DoctorCheck[];
  /** Which kernels can run here: the project's own lean one, and stock ones as distributions ship them. */
  readonly boots: { readonly lean: boolean; readonly stock: boolean };
}

const NO_EMULATION =
  'only a KVM that runs guest kernel code on the CPU itself (VT-x, AMD-V) can: use the lean kernel here, or another host';

/** What a kernel needs beyond the basics, and whether the lean kernel lives without. */
const KERNEL_PROBES: readonly { probe: ProbeName; name: string; plain: string }[] = [
  {
    probe: 'cmpxchg16b',
    name: 'CMPXCHG16B in kernel mode',
    plain: 'a 16-byte atomic exchange, used by allocators',
  },
  { probe: 'popcnt', name: 'POPCNT in kernel mode', plain: 'counting bits, used by CPU masks' },
  { probe: 'xrstor', name: 'XRSTOR in kernel mode', plain: 'restoring AVX state at a task switch' },
  { probe: 'int3', name: 'INT3 in kernel mode', plain: 'a breakpoint, used when the kernel patches itself' },
];

const CONTAINER_HINT = 'in a container, pass the device on: docker run --device /dev/kvm';

/** Runs all checks; takes a tenth of a second. Never throws for what it finds. */
export async function doctor(): Promise<DoctorReport> {
  const checks: DoctorCheck[] = [];
  const none = (): DoctorReport => ({
    ok: false,
    host: 'none',
    checks,
    boots: { lean: false, stock: false },
  });
  const device = openKvm();
  checks.push(device.check);
  if (!device.kvm) return none();

  const kind = detectHostKind();
  checks.push(kindCheck(kind));
  const missing = missingCapabilities(device.kvm);
  device.kvm[Symbol.dispose]();
  checks.push({
    name: 'capabilities',
    ok: missing.length === 0,
    detail:
      missing.length === 0
        ? `all ${REQUIRED_CAPABILITIES.size} that the monitor needs`
        : `missing: ${missing.map((name) => `${name} (${REQUIRED_CAPABILITIES.get(name)})`).join(', ')}`,
    fix: missing.length === 0 ? undefined : 'update the host: Linux 4.12 or newer has them on any x86-64 CPU',
  });
  if (missing.length > 0) return none();

  const real = await probed('real', 'real mode', 'a guest runs in 16-bit real mode');
  const long = await probed('long', 'long mode', 'a guest runs in 64-bit mode with paging');
  const cpuid = await probed(
    'cpuid',
    'CPUID in kernel mode',
    'the guest sees the CPU that the monitor describes',
  );
  checks.push(real, long, {
    ...cpuid,
    fix: cpuid.ok
      ? undefined
      : "the guest sees the host's own CPU; features must be hidden by the guest's command line (done for you)",
  });
  const kernel: DoctorCheck[] = [];
  for (const { probe, name, plain } of KERNEL_PROBES) {
    const check = await probed(probe, name, plain);
    kernel.push(check.ok ? check : { ...check, detail: `${plain}: ${check.detail}`, fix: NO_EMULATION });
  }
  checks.push(...kernel);

  const lean = long.ok;
  const stock = long.ok && kind === 'hardware' && cpuid.ok && kernel.every(({ ok }) => ok);
  return { ok: lean, host: kind, checks, boots: { lean, stock } };
}

/** @returns what `detail` says, or what happened instead */
async function probed(probe: ProbeName, name: string, detail: string): Promise<DoctorCheck> {
  try {
    const problem = await runProbe(PROBES[probe]);
    return { name, ok: problem === undefined, detail: problem ?? detail };
  } catch (error) {
    if (!(error instanceof VmmError)) throw error;
    return { name, ok: false, detail: error.message, fix: error.hint };
  }
}

function openKvm(): { readonly check: DoctorCheck; readonly kvm?: Kvm } {
  const name = '/dev/kvm';
  try {
    const kvm = Kvm.open();
    return { kvm, check: { name, ok: true, detail: 'is there and may be used' } };
  } catch (error) {
    if (!(error instanceof VmmError)) throw error;
    return { check: { name, ok: false, detail: error.message, fix: missingKvmFix(error) } };
  }
}

function missingKvmFix(error: VmmError): string | undefined {
  if (error.code !== 'ERR_KVM_UNAVAILABLE') return error.hint;
  if (existsSync('/.dockerenv') || existsSync('/run/.containerenv')) return CONTAINER_HINT;
  const flags = readFileSync('/proc/cpuinfo', 'utf8');
  if (/^flags.*\bvmx\b/m.test(flags)) return 'load the module: modprobe kvm_intel';
  if (/^flags.*\bsvm\b/m.test(flags)) return 'load the module: modprobe kvm_amd';
  return 'this CPU shows neither VT-x nor AMD-V: switch virtualization on in the firmware, or nested virtualization in the cloud';
}

function kindCheck(kind: HostKind): DoctorCheck {
  const name = 'kind of KVM';
  if (kind === 'software') {
    return {
      name,
      ok: true,
      detail: 'software (kvm-pvm): guest user code runs on the CPU, guest kernel code in an emulator, slowly',
    };
  }
  const module = ['kvm_intel', 'kvm_amd'].find((folder) => existsSync(`/sys/module/${folder}`));
  const technique = module === 'kvm_intel' ? 'VT-x' : module === 'kvm_amd' ? 'AMD-V' : 'hardware';
  const nested = /^flags.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  return {
    name,
    ok: true,
    detail: `${technique}${nested ? ', nested: this host is itself a virtual machine' : ''}`,
  };
}
