/**
 * rig-boot.ts OUTPUT ROUNDS STOPWATCH: boots the lean and the stock kernel in turns with our monitor, in this warm process, and with QEMU, and
 * writes what it measured to OUTPUT. Run inside the rig.
 * Runs on: main, in a process of its own.
 */
import { writeFileSync } from 'node:fs';
import { leanGuest } from '../../../guest-kernels/lean.js';
import { Progress } from '../../../guest-kernels/progress.js';
import { stockGuest } from '../../../guest-kernels/stock.js';
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

const lean = await leanGuest();
const { benchInitrd: initrd } = lean;
const stock = { kernel: (await stockGuest()).kernel, benchInitrd: initrd };
const cmdline = await commandLineOf(lean);
const stockCmdline = await commandLineOf(stock);

/** @returns a side: QEMU from exec to the line of /init, ms */
const qemuBoot = (kernel: string, words: string) => (): number => {
  const command = qemuLinux({ kernel, initrd, cmdline: words, memoryMib: MEMORY_MIB });
  return time(context, { command, pattern: INIT_UP, endless: true }).pattern;
};

/** @returns a side: from start() to the line of /init, ms */
const boot = (kernel: string, pages: 'default' | 'transparent') => async (): Promise<number> => {
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

const [ours = [], huge = [], qemu = [], node = [], stockOurs = [], stockQemu = []] = await inTurns(
  context,
  'in the rig',
  [
    boot(lean.kernel, 'default'),
    boot(lean.kernel, 'transparent'),
    qemuBoot(lean.kernel, cmdline),
    () => time(context, { command: [process.execPath, '-e', '0'] }).exit,
    boot(stock.kernel, 'default'),
    qemuBoot(stock.kernel, stockCmdline),
  ],
);
const samples: RigSamples = { ours, huge, qemu, node, cmdline, stockOurs, stockQemu, stockCmdline };
writeFileSync(output, JSON.stringify(samples));
