/**
 * Rows about sockets between a guest and its host: what crosses them, and how long a byte there and back takes. Ours, where the host's
 * end is the embedder itself or a program on a Unix socket, against QEMU with vhost-vsock, whose host's end is a program on an AF_VSOCK
 * socket. In the rig; on hosts whose kernel has no vhost-vsock ours alone.
 * Runs on: main.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheRoot } from '../../guest-kernels/cache.js';
import { withScript } from '../../guest-kernels/initramfs.js';
import { leanGuest } from '../../guest-kernels/lean.js';
import { stockGuest } from '../../guest-kernels/stock.js';
import { runInRig } from '../rig/rig.js';
import { compileC } from '../support/compile.js';
import { type Benchmark, bootsOf, type Context, type Row } from './benchmark.js';
import { jobRow } from './guest-jobs.js';
import { ensureQemu } from './qemu.js';
import { readTurns, type TurnResults } from './turns.js';
import { VSOCK_MONITORS, type VsockMonitor, type VsockPlan } from './vsock-guests.js';
import { VSOCK_JOBS, VSOCK_PROGRAM, vsockScript } from './vsock-jobs.js';

const INSIDE = fileURLToPath(new URL('./inside/vsock-turns.ts', import.meta.url));
const SOURCE = fileURLToPath(new URL('./peers/vsock.c', import.meta.url));
/** How long a job counts. */
const SECONDS = 2;
/** Boots of each monitor. */
const MOST_BOOTS = 3;
/** Of one boot with all its jobs, s: twice what it takes. The lean guest's kernel is emulated where it is measured. */
const PER_BOOT = { lean: 150, stock: 90 } as const;
const OURS: readonly VsockMonitor[] = ['api', 'unix'];
const WHERE = { api: 'the embedder', unix: 'a Unix socket' } as Readonly<Record<VsockMonitor, string>>;
/** Bytes as fast as the peer's; what goes to and fro may take half as long again. */
const RATIO = (name: string): number => (name === 'out' || name === 'in' ? 1 : 1.5);

export const guestVsock: Benchmark = {
  name: 'guest-vsock',
  async run(context) {
    const rounds = bootsOf(context, MOST_BOOTS);
    const { plan, output } = await prepare(context, 'lean', 'guest-vsock');
    const monitors = existsSync('/dev/vhost-vsock') ? VSOCK_MONITORS : OURS;
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', INSIDE, plan, output, String(rounds), ...monitors],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const limit = setTimeout(
      () => child.kill('SIGKILL'),
      (PER_BOOT.lean + 20) * 1000 * monitors.length * rounds,
    );
    const [status, signal] = (await once(child, 'exit')) as [number | null, string | null];
    clearTimeout(limit);
    return rowsOf(
      'guest',
      "this host's KVM",
      readTurns(output),
      monitors,
      `it ended with ${status ?? signal}`,
    );
  },
};

export const rigVsock: Benchmark = {
  name: 'rig-vsock',
  async run(context) {
    const { folder, progress } = context;
    const rounds = bootsOf(context, MOST_BOOTS);
    const { plan, output } = await prepare(context, 'stock', 'rig-vsock');
    let why = 'it never ran';
    // A machine of its own for each round: one that works for very long cannot be trusted.
    for (let round = 1; round <= rounds; round += 1) {
      const { status, stderr } = await progress.step(
        `sockets of guests in the rig, ${round} of ${rounds}`,
        () =>
          runInRig(
            [process.execPath, '--import', 'tsx', INSIDE, plan, output, String(round), ...VSOCK_MONITORS],
            {
              rw: [folder],
              env: { TYPEVISOR_CACHE: cacheRoot() },
              memoryMib: 3072,
              timeout: 20 + PER_BOOT.stock * VSOCK_MONITORS.length,
            },
          ),
      );
      for (const line of stderr.split('\n').filter((one) => one.startsWith('measured '))) progress.note(line);
      if (status !== 0) why = `status ${status} in the rig: ${stderr.trim().slice(-500)}`;
    }
    return rowsOf('rig', 'in the rig', readTurns(output), VSOCK_MONITORS, why);
  },
};

/** @returns paths of the plan and of the results */
async function prepare(
  context: Context,
  name: 'lean' | 'stock',
  title: string,
): Promise<{ plan: string; output: string }> {
  const { progress } = context;
  await ensureQemu(context);
  const guest = await (name === 'lean' ? leanGuest : stockGuest)({ progress });
  const folder = join(context.folder, title);
  mkdirSync(folder);
  const program = compileC(SOURCE, join(folder, 'vsock'), ['-O2', '-static']);
  const initrd = join(folder, 'initrd');
  const tool = { type: 'file' as const, path: VSOCK_PROGRAM, mode: 0o755, data: readFileSync(program) };
  writeFileSync(initrd, withScript(readFileSync(guest.initrd), vsockScript(SECONDS), [tool]));
  const plan: VsockPlan = {
    guest: name,
    kernel: guest.kernel,
    initrd,
    memoryMib: name === 'lean' ? 128 : 256,
    program,
    limitMs: PER_BOOT[name] * 1000,
    folder,
  };
  const path = join(folder, 'plan.json');
  writeFileSync(path, JSON.stringify(plan));
  return { plan: path, output: join(folder, 'results.json') };
}

function rowsOf(
  prefix: string,
  where: string,
  results: TurnResults,
  monitors: readonly VsockMonitor[],
  otherwise: string,
): Row[] {
  const what = 'QEMU, vhost-vsock';
  const peer = monitors.includes('vhost')
    ? { peer: { name: 'vhost', what, boots: results['vhost'] ?? [] } }
    : {};
  return OURS.flatMap((ours) =>
    VSOCK_JOBS.map((job) =>
      jobRow(job, {
        name: `${prefix}-vsock-${job.name}-${ours}`,
        what: `${job.what}, ${where}, ${WHERE[ours]}; ${'peer' in peer ? what : 'no vhost-vsock here'}`,
        ours: { name: ours, boots: results[ours] ?? [] },
        ...peer,
        limit: 'peer' in peer ? { ratio: RATIO(job.name) } : {},
        otherwise,
      }),
    ),
  );
}
