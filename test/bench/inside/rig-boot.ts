/**
 * rig-boot.ts OUTPUT ROUNDS STOPWATCH lean|stock: boots a kernel in turns with our monitor, in this warm process, and with QEMU, and
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

const [output = '', rounds = '', stopwatch = '', name = ''] = process.argv.slice(2);
const context: Context = {
  rounds: Number(rounds),
  progress: new Progress(),
  wants: () => true,
  peer: () => stopwatch,
  folder: '/nowhere',
};

const lean = await leanGuest();
const { benchInitrd: initrd } = lean;
const { kernel } = name === 'stock' ? await stockGuest() : lean;
const cmdline = await commandLineOf({ kernel, benchInitrd: initrd });

/** A side: QEMU from exec to the line of /init, ms. */
const qemuBoot = (): number => {
  const command = qemuLinux({ kernel, initrd, cmdline, memoryMib: MEMORY_MIB });
  return time(context, { command, pattern: INIT_UP, endless: true }).pattern;
};

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

// What only informs is looked at once, with the lean kernel.
const apart =
  name === 'stock'
    ? []
    : [boot('transparent'), () => time(context, { command: [process.execPath, '-e', '0'] }).exit];
const sides = [boot('default'), qemuBoot, ...apart];
const [ours = [], qemu = [], huge = [], node = []] = await inTurns(context, 'in the rig', sides);
const samples: RigSamples = { ours, qemu, huge, node, cmdline };
writeFileSync(output, JSON.stringify(samples));
