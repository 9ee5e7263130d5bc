/**
 * rig-boot.ts OUTPUT ROUNDS STOPWATCH: boots the lean kernel in turns with our monitor, in this warm process, and with QEMU, and
 * writes what it measured to OUTPUT. Run inside the rig.
 * Runs on: main, in a process of its own.
 */
import { writeFileSync } from 'node:fs';
import { leanGuest } from '../../../guest-kernels/lean.js';
import { Progress } from '../../../guest-kernels/progress.js';
import { type Context, inTurns } from '../benchmark.js';
import { VirtualMachine } from '../library.js';
import { commandLineOf, INIT_UP, MEMORY_MIB } from '../linux.js';
import { qemuLinux } from '../qemu.js';
import type { RigSamples } from '../rig.js';
import { time } from '../stopwatch.js';

const [output = '', rounds = '', stopwatch = ''] = process.argv.slice(2);
const context: Context = {
  rounds: Number(rounds),
  progress: new Progress(),
  peer: () => stopwatch,
  folder: '/nowhere',
};

const guest = await leanGuest();
const { kernel, benchInitrd: initrd } = guest;
const cmdline = await commandLineOf(guest);
const peer = { command: qemuLinux({ kernel, initrd, cmdline, memoryMib: MEMORY_MIB }), pattern: INIT_UP };

/** @returns a side: from start() to the line of /init, ms */
const boot = (pages: 'default' | 'transparent') => async (): Promise<number> => {
  await using vm = await VirtualMachine.create({
    kernel,
    initrd,
    memory: { size: `${MEMORY_MIB}M`, pages },
    cmdline: 'quiet',
  });
  const started = performance.now();
  await vm.start();
  await vm.waitFor(INIT_UP);
  return performance.now() - started;
};

const [ours = [], huge = [], qemu = [], node = []] = await inTurns(context, 'in the rig', [
  boot('default'),
  boot('transparent'),
  () => time(context, { ...peer, endless: true }).pattern,
  () => time(context, { command: [process.execPath, '-e', '0'] }).exit,
]);
writeFileSync(output, JSON.stringify({ ours, huge, qemu, node, cmdline } satisfies RigSamples));
