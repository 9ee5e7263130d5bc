/**
 * Programs in a guest as a host starts them: `true` in a guest that is up, and the first byte of one for which a machine is made. The
 * same kernel and initramfs under our monitor and under QEMU.
 * Runs on: main; QEMU in a process of its own.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withOverlay, withScript } from '../../guest-kernels/initramfs.js';
import { leanGuest } from '../../guest-kernels/lean.js';
import { type Context, inTurns } from './benchmark.js';
import { found } from './guest-jobs.js';
import { VirtualMachine } from './library.js';
import { qemuLinux, qemuVsock } from './qemu.js';
import { quietEnvironment, time } from './stopwatch.js';

const VMM = join(import.meta.dirname, '../../vmm.js');
const AGENT = join(import.meta.dirname, '../../dist/guest-agent');
const MEMORY_MIB = 128;
const CID = 43;
const GREETING = 'first bytes from the guest';
/** Programs of one sample, and those before the first: what JavaScript takes until it is compiled is not a program's cost. */
const EXECS = 20;
const WARM_UP = 100;

export interface ExecPlan {
  /** peers/agent-exec.c */
  readonly agentExec: string;
  /** For initramfs files. */
  readonly folder: string;
}

export interface ExecSamples {
  /** ms until the first byte; of QEMU, or why there are none. */
  readonly coldOurs: readonly number[];
  readonly coldQemu: readonly number[] | string;
  /** ms for one `true`. */
  readonly execOurs: readonly number[];
  readonly execVhost: readonly number[] | string;
}

type Measuring = Pick<Context, 'rounds' | 'progress' | 'peer'>;

export async function measureExec(context: Measuring, plan: ExecPlan): Promise<ExecSamples> {
  const full: Context = { ...context, wants: () => true, folder: plan.folder };
  return { ...(await measureCold(full)), ...(await measureTrue(full, plan)) };
}

async function measureCold(context: Context): Promise<Pick<ExecSamples, 'coldOurs' | 'coldQemu'>> {
  const { kernel, initrd } = await leanGuest();
  const image = ['--kernel', kernel, '--initrd', initrd, '--memory', `${MEMORY_MIB}M`, '--cmdline', 'quiet'];
  const words = ['/bin/busybox', 'echo', GREETING];
  const ours = { command: [process.execPath, VMM, ...image, '--', ...words], pattern: GREETING };
  const script = join(context.folder, 'echo-initrd');
  writeFileSync(script, withScript(readFileSync(initrd), words.join(' ')));
  const cmdline = await commandLine(kernel, initrd, false);
  const peer = {
    command: qemuLinux({ kernel, initrd: script, cmdline, memoryMib: MEMORY_MIB }),
    pattern: GREETING,
    endless: true,
  };
  const cold = (command: Parameters<typeof time>[1]) => (): number => time(context, command).pattern;
  try {
    time(context, peer);
  } catch (error) {
    const [alone = []] = await inTurns(context, 'first byte of a program in a new guest', [cold(ours)]);
    return { coldOurs: alone, coldQemu: `QEMU does not boot this kernel here: ${String(error)}` };
  }
  const [coldOurs = [], coldQemu = []] = await inTurns(context, 'first byte of a program in a new guest', [
    cold(ours),
    cold(peer),
  ]);
  return { coldOurs, coldQemu };
}

async function measureTrue(
  context: Context,
  { agentExec, folder }: ExecPlan,
): Promise<Pick<ExecSamples, 'execOurs' | 'execVhost'>> {
  const { kernel, initrd } = await leanGuest();
  await using vm = await VirtualMachine.start({ ...guestOf(kernel, initrd), agent: true });
  const execute = async (count: number): Promise<number> => {
    const started = performance.now();
    for (let done = 0; done < count; done += 1) await vm.exec(['/bin/busybox', 'true'], { check: true });
    return (performance.now() - started) / count;
  };
  await execute(WARM_UP);
  const ours = (): Promise<number> => execute(EXECS);
  const title = '`true` in a guest that is up';
  if (!existsSync('/dev/vhost-vsock')) {
    const [execOurs = []] = await inTurns(context, title, [ours]);
    return { execOurs, execVhost: 'this host has no vhost-vsock' };
  }
  execFileSync('modprobe', ['-a', 'vhost_vsock'], { stdio: 'pipe' });
  const withAgent = join(folder, 'agent-initrd');
  const agent = { type: 'file' as const, path: 'typevisor/agent', mode: 0o755, data: readFileSync(AGENT) };
  writeFileSync(
    withAgent,
    withOverlay(readFileSync(initrd), [{ type: 'directory', path: 'typevisor' }, agent]),
  );
  const cmdline = await commandLine(kernel, initrd, true);
  const [file, ...args] = qemuVsock(
    { kernel, initrd: withAgent, cmdline, memoryMib: MEMORY_MIB },
    CID,
    false,
  );
  const qemu = spawn(file!, args, { stdio: 'ignore', env: quietEnvironment() });
  try {
    const theirs = (): number => {
      const said = execFileSync(agentExec, [String(CID), String(EXECS)], {
        encoding: 'latin1',
        timeout: 120_000,
      });
      const [, count, us] = found(said, /(\d+) execs in (\d+) us/);
      return Number(us) / Number(count) / 1000;
    };
    const [execOurs = [], execVhost = []] = await inTurns(context, title, [ours, theirs]);
    return { execOurs, execVhost };
  } finally {
    await end(qemu);
  }
}

const guestOf = (kernel: string, initrd: string) => ({
  kernel,
  initrd,
  memory: `${MEMORY_MIB}M`,
  cmdline: 'quiet',
});

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
}

/** The words that ours adds, for both; devices are where each monitor has them. */
async function commandLine(kernel: string, initrd: string, agent: boolean): Promise<string> {
  await using vm = await VirtualMachine.create({ ...guestOf(kernel, initrd), agent });
  return vm.cmdline!.replaceAll(/ ?virtio_mmio\.device=\S+/g, '');
}
