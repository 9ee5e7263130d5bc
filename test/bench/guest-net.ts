/**
 * Rows about networks as a guest sees them: iperf3, ping and short connections in the same Linux guest, our monitor against QEMU's
 * virtio-net-device, on a tap interface and without rights: QEMU's own user network, and passt. On this host's KVM, and in the rig.
 * Runs on: main.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheRoot } from '../../guest-kernels/cache.js';
import { ensureInstalled } from '../../guest-kernels/debian-install.js';
import { withScript } from '../../guest-kernels/initramfs.js';
import { leanGuest } from '../../guest-kernels/lean.js';
import { stockGuest } from '../../guest-kernels/stock.js';
import { runInRig } from '../rig/rig.js';
import { compileC } from '../support/compile.js';
import { iperf3 } from '../support/network-tools.js';
import { type Benchmark, bootsOf, type Context, type Row } from './benchmark.js';
import { jobRow } from './guest-jobs.js';
import type { NetMonitor, NetPlan } from './net-guests.js';
import { NET_JOBS, netScript } from './net-jobs.js';
import { ensureQemu } from './qemu.js';
import { readTurns, type TurnResults } from './turns.js';

const INSIDE = fileURLToPath(new URL('./inside/net-turns.ts', import.meta.url));
const PROBE = fileURLToPath(new URL('./peers/connections.c', import.meta.url));
/** How long a job counts. */
const SECONDS = 2;
/** Boots of each monitor. */
const MOST_BOOTS = 3;
/** Of one boot with all its jobs, s: twice what it takes. The lean guest's kernel is emulated where it is measured. */
const PER_BOOT = { lean: 300, stock: 85 } as const;
/** A rig of its own for each round of a group, so that none works for longer than it can be trusted. */
const GROUPS: readonly (readonly NetMonitor[])[] = [
  ['tap', 'tap-qemu'],
  ['user', 'user-slirp', 'user-passt'],
];
/** Ours, a peer, and how long ours may take of what the peer does: 1 / 2 is twice as fast. */
const PAIRS: readonly { ours: NetMonitor; peer: NetMonitor; what: string; ratio: number }[] = [
  { ours: 'tap', peer: 'tap-qemu', what: 'QEMU, tap', ratio: 1 },
  { ours: 'user', peer: 'user-slirp', what: 'QEMU, slirp', ratio: 1 / 2 },
  { ours: 'user', peer: 'user-passt', what: 'QEMU, passt', ratio: 1 / 0.7 },
];

export const guestNet: Benchmark = {
  name: 'guest-net',
  async run(context) {
    const rounds = bootsOf(context, MOST_BOOTS);
    const { plan, output } = await prepare(context, 'lean', 'guest-net');
    const args = ['-n', process.execPath, '--import', 'tsx', INSIDE, plan, output, String(rounds)];
    const child = spawn('unshare', [...args, ...GROUPS.flat()], { stdio: ['ignore', 'ignore', 'inherit'] });
    const limit = setTimeout(
      () => child.kill('SIGKILL'),
      (PER_BOOT.lean + 30) * 1000 * GROUPS.flat().length * rounds,
    );
    const [status, signal] = (await once(child, 'exit')) as [number | null, string | null];
    clearTimeout(limit);
    return rowsOf('guest', "this host's KVM", readTurns(output), `it ended with ${status ?? signal}`);
  },
};

export const rigNet: Benchmark = {
  name: 'rig-net',
  async run(context) {
    const { folder, progress } = context;
    const rounds = bootsOf(context, MOST_BOOTS);
    const { plan, output } = await prepare(context, 'stock', 'rig-net');
    const all = ['unshare', '-n', process.execPath, '--import', 'tsx', INSIDE, plan, output];
    let why = 'it never ran';
    for (let round = 1; round <= rounds; round += 1) {
      for (const group of GROUPS) {
        const title = `networks in guests in the rig, ${round} of ${rounds}: ${group.join(', ')}`;
        const { status, stderr } = await progress.step(title, () =>
          runInRig([...all, String(round), ...group], {
            rw: [folder],
            env: { TYPEVISOR_CACHE: cacheRoot() },
            memoryMib: 3072,
            timeout: 20 + PER_BOOT.stock * group.length,
          }),
        );
        for (const line of stderr.split('\n').filter((one) => one.startsWith('measured ')))
          progress.note(line);
        if (status !== 0) why = `status ${status} in the rig: ${stderr.trim().slice(-500)}`;
      }
    }
    return rowsOf('rig', 'in the rig', readTurns(output), why);
  },
};

/** Everything that needs the host's own network. @returns paths of the plan and of the results */
async function prepare(
  context: Context,
  name: 'lean' | 'stock',
  title: string,
): Promise<{ plan: string; output: string }> {
  const { progress } = context;
  await ensureQemu(context);
  await ensureInstalled(['passt'], { reason: 'the benchmarks’ peer', progress });
  const guest = await (name === 'lean' ? leanGuest : stockGuest)({ progress });
  const folder = join(context.folder, title);
  mkdirSync(folder);
  const program = await iperf3({ progress });
  const connections = compileC(PROBE, join(folder, 'connections'), ['-O2', '-static']);
  const tools = [
    { path: 'bin/iperf3', from: program },
    { path: 'bin/connections', from: connections },
  ].map(({ path, from }) => ({ type: 'file' as const, path, mode: 0o755, data: readFileSync(from) }));
  const initrd = join(folder, 'initrd');
  writeFileSync(initrd, withScript(readFileSync(guest.initrd), netScript(SECONDS), tools));
  const plan: NetPlan = {
    guest: name,
    kernel: guest.kernel,
    initrd,
    memoryMib: name === 'lean' ? 128 : 256,
    iperf3: program,
    connections,
    limitMs: PER_BOOT[name] * 1000,
    folder,
  };
  const path = join(folder, 'plan.json');
  writeFileSync(path, JSON.stringify(plan));
  return { plan: path, output: join(folder, 'results.json') };
}

function rowsOf(prefix: string, where: string, results: TurnResults, otherwise: string): Row[] {
  return PAIRS.flatMap(({ ours, peer, what, ratio }) =>
    NET_JOBS.map((job) =>
      jobRow(job, {
        name: `${prefix}-${job.name}-${peer}`,
        what: `${job.what}, ${where}; ${what}`,
        ours: { name: ours, boots: results[ours] ?? [] },
        peer: { name: peer, what, boots: results[peer] ?? [] },
        limit: { ratio: Number(ratio.toFixed(2)) },
        otherwise,
      }),
    ),
  );
}
