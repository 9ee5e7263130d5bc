/**
 * Rows about programs in a guest: `true` by the agent, ours against the same agent behind QEMU's vhost-vsock, whose client is in C; and the
 * time from the command `vmm.js … -- echo` to the program's first byte, against QEMU with the same kernel and initramfs, whose /init
 * runs that echo on the console. On this host's KVM, and in the rig.
 * Runs on: main.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheRoot } from '../../guest-kernels/cache.js';
import { leanGuest } from '../../guest-kernels/lean.js';
import { runInRig } from '../rig/rig.js';
import { compileC } from '../support/compile.js';
import type { Benchmark, Context, Row } from './benchmark.js';
import { type ExecPlan, type ExecSamples, measureExec } from './exec-guests.js';
import { ensureQemu } from './qemu.js';

const INSIDE = fileURLToPath(new URL('./inside/rig-exec.ts', import.meta.url));
const SOURCE = fileURLToPath(new URL('./peers/agent-exec.c', import.meta.url));
/** Seconds in the rig: two boots for each round, two more and a hundred programs before the first. */
const PER_ROUND = 40;
const BEFORE = 120;

export const guestExec: Benchmark = {
  name: 'guest-exec',
  async run(context) {
    return rowsOf(
      'guest',
      "this host's KVM",
      await measureExec(context, await prepare(context, 'guest-exec')),
    );
  },
};

export const rigExec: Benchmark = {
  name: 'rig-exec',
  async run(context) {
    const { rounds, progress } = context;
    const plan = await prepare(context, 'rig-exec');
    const [planFile, output] = [join(plan.folder, 'plan.json'), join(plan.folder, 'samples.json')];
    writeFileSync(planFile, JSON.stringify(plan));
    const { status, stderr } = await progress.step('programs in guests in the rig', () =>
      runInRig(
        [
          process.execPath,
          '--import',
          'tsx',
          INSIDE,
          planFile,
          output,
          String(rounds),
          context.peer('stopwatch'),
        ],
        {
          rw: [context.folder],
          env: { TYPEVISOR_CACHE: cacheRoot() },
          timeout: BEFORE + PER_ROUND * rounds,
        },
      ),
    );
    if (!existsSync(output)) {
      const why = `status ${status} in the rig: ${stderr.trim().slice(-500)}`;
      return [{ name: 'rig-exec', what: 'programs in guests, in the rig', why }];
    }
    return rowsOf('rig', 'in the rig', JSON.parse(readFileSync(output, 'utf8')) as ExecSamples);
  },
};

async function prepare(context: Context, title: string): Promise<ExecPlan> {
  await ensureQemu(context);
  await leanGuest({ progress: context.progress });
  const folder = join(context.folder, title);
  mkdirSync(folder);
  return { folder, agentExec: compileC(SOURCE, join(folder, 'agent-exec'), ['-O2', '-static']) };
}

function rowsOf(prefix: string, where: string, samples: ExecSamples): Row[] {
  const row = (
    name: string,
    what: string,
    ours: readonly number[],
    theirs: readonly number[] | string,
    peer: string,
    ratio: number,
  ): Row => {
    const common = { name: `${prefix}-${name}`, what: `${what}, ${where}`, unit: 'ms' as const, ours };
    return typeof theirs === 'string'
      ? { ...common, limit: {}, notes: [`no peer: ${theirs}`] }
      : { ...common, peer: { what: peer, samples: theirs }, limit: { ratio }, notes: [] };
  };
  const { execOurs, execVhost, coldOurs, coldQemu } = samples;
  const agent = 'the same agent by vhost-vsock, a client in C';
  const console = 'QEMU microvm, same kernel and initrd, /init runs it on the console';
  return [
    row('exec-true', "exec of 'true', a connection each", execOurs, execVhost, agent, 1.5),
    row('exec-cold', 'vmm.js … -- echo: exec → its first byte', coldOurs, coldQemu, console, 1),
  ];
}
