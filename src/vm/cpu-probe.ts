/**
 * What CPU a guest gets here, found out by a guest: it executes CPUID for every leaf that KVM was told of, so the answer holds on
 * hosts that do not do as they are told, too.
 * Runs on: main.
 */
import { VmmError } from '../base/errors.js';
import { Resources } from '../base/resources.js';
import { gpa, MiB } from '../base/units.js';
import { planFlat, writeFlatTables } from '../boot/flat.js';
import { parseConfig } from '../config/schema.js';
import { EXIT_PORT, exitPort } from '../devices/legacy/small.js';
import { featureNames } from '../vcpu/cpu-features.js';
import { BOOT_MSRS, MSR } from '../vcpu/state.js';
import { loadCpuModel } from './cpu.js';
import { describeEnd } from './crash.js';
import { detectHostKind } from './host-kind.js';
import type { CpuConfig, CpuReport } from './inspect-cpu.js';
import { Machine } from './machine.js';
import { assemble } from './probe.js';

const CODE = gpa(0x1_0000);
/** Records of 32 bytes: leaf, subleaf, eight bytes for nothing, then the guest's eax, ebx, ecx, edx. */
const TABLE = gpa(0x2_0000);
const RECORD = 32;
const END = 0xffff_ffff;
const LIMIT_MS = 5000;

const ASK = assemble(`
  be 00 00 02 00  # mov   esi, TABLE
  8b 06           # next: mov eax, [rsi]
  8b 4e 04        # mov   ecx, [rsi + 4]
  0f a2           # cpuid
  89 46 10        # mov   [rsi + 16], eax
  89 5e 14        # mov   [rsi + 20], ebx
  89 4e 18        # mov   [rsi + 24], ecx
  89 56 1c        # mov   [rsi + 28], edx
  83 c6 20        # add   esi, 32
  83 3e ff        # cmp   dword ptr [rsi], END
  75 e5           # jne   next
  e7 f4           # out   0xf4, eax
  f4              # hlt`);

/** @throws as `inspectCpu` says */
export async function askGuest(config: CpuConfig): Promise<CpuReport> {
  const resolved = parseConfig({ ...config, kernel: ASK });
  const model = loadCpuModel(resolved);
  const ram = [{ base: gpa(0), size: 2 * MiB }];
  const plan = planFlat(ASK.length, { load: CODE, entry: CODE, mode: 'long' }, ram);
  using resources = new Resources();
  const machine = resources.use(
    new Machine({ ram, pages: 'default', cpus: resolved.cpus, irqchip: true, cpu: model }),
  );
  const { memory } = machine.ram;
  memory.write(CODE, ASK);
  writeFlatTables(memory, plan);
  const asked = machine.prepare(plan.entry);
  for (const [index, entry] of asked.entries()) {
    memory.writeU32(gpa(TABLE + index * RECORD), entry.function);
    memory.writeU32(gpa(TABLE + index * RECORD + 4), entry.index);
  }
  memory.writeU32(gpa(TABLE + asked.length * RECORD), END);
  const msrs = [...BOOT_MSRS, ...(model.msrs ?? [])].map(({ index }) => index);
  const first = machine.vcpus[0]!.kvm;
  const values = [...new Set(msrs)].map((index) => ({
    index,
    ...named(index),
    value: first.getMsr(index) ?? 0n,
  }));
  await run(machine);
  const cpuid = asked.map((entry, index) => {
    const [eax, ebx, ecx, edx] = [16, 20, 24, 28].map((at) =>
      memory.readU32(gpa(TABLE + index * RECORD + at)),
    );
    return { ...entry, eax: eax!, ebx: ebx!, ecx: ecx!, edx: edx! };
  });
  return {
    host: detectHostKind(),
    features: featureNames(cpuid),
    cpuid: cpuid.map(({ function: leaf, index: subleaf, eax, ebx, ecx, edx }) => ({
      leaf,
      subleaf,
      eax,
      ebx,
      ecx,
      edx,
    })),
    msrs: values,
  };
}

function named(index: number): { name?: string } {
  const name = Object.entries(MSR).find(([, value]) => value === index)?.[0];
  return name === undefined ? {} : { name };
}

async function run(machine: Machine): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const problem = await new Promise<string | undefined>((resolve) => {
    timer = setTimeout(() => resolve('never came to its end'), LIMIT_MS);
    machine.pio.claim(
      EXIT_PORT,
      4,
      'exit',
      exitPort(() => resolve(undefined)),
    );
    machine.onEnd = (_vcpu, end) => resolve(`ended: ${describeEnd(end)}`);
    machine.start();
  });
  clearTimeout(timer);
  machine.halt();
  if (problem !== undefined) throw new VmmError('ERR_VMM_HOST', `the guest that executes CPUID ${problem}`);
}
