/** Rows about whole processes: a flat guest from exec to exit, and the command's own start. Runs on: main. */
import { join } from 'node:path';
import { type Benchmark, inTurns } from './benchmark.js';
import { firmware, GREETING } from './flat-guest.js';
import { VirtualMachine } from './library.js';
import { ensureQemu, QEMU_EXIT_0, qemuFirmware } from './qemu.js';
import { CpuTimes, time } from './stopwatch.js';

const VMM = join(import.meta.dirname, '../../vmm.js');
const MEMORY_MIB = 128;
const SAME_BYTES = 'QEMU microvm, same bytes';

export const flatProcess: Benchmark = {
  name: 'flat',
  async run(context) {
    await ensureQemu(context);
    const { path, load, entry } = firmware(context);
    const flat = ['--flat', `${path},load=${load},entry=${entry}`, '--memory', `${MEMORY_MIB}M`];
    const ours = { command: [process.execPath, VMM, ...flat], pattern: GREETING };
    const peer = { command: qemuFirmware(path, MEMORY_MIB), pattern: GREETING, status: QEMU_EXIT_0 };
    const [cpuOurs, cpuPeer] = [new CpuTimes(), new CpuTimes()];
    const [a = [], b = [], node = []] = await inTurns(context, 'flat guest, whole process', [
      cpuOurs.side(context, ours, 'exit'),
      cpuPeer.side(context, peer, 'exit'),
      () => time(context, { command: [process.execPath, '-e', '0'] }).exit,
    ]);
    return [
      {
        name: 'flat',
        what: 'whole process: exec → flat guest → exit',
        unit: 'ms',
        ours: a,
        peer: { what: SAME_BYTES, samples: b },
        cpu: { ours: cpuOurs.median, peer: cpuPeer.median },
        limit: { ratio: 1 },
        notes: [],
      },
      {
        name: 'flat-node',
        what: 'of which an empty Node would take',
        unit: 'ms',
        ours: node,
        peer: { what: SAME_BYTES, samples: b },
        limit: {},
        notes: ['for information: `node -e 0`, exec to exit; no monitor in Node can be faster'],
      },
    ];
  },
};

export const inProcess: Benchmark = {
  name: 'create',
  async run(context) {
    await ensureQemu(context);
    const { path, load, entry } = firmware(context);
    const peer = { command: qemuFirmware(path, MEMORY_MIB), pattern: GREETING, status: QEMU_EXIT_0 };
    const [ours = [], theirs = []] = await inTurns(context, 'flat guest, in one process', [
      async () => {
        const started = performance.now();
        const vm = await VirtualMachine.create({
          kernel: path,
          flat: { load, entry },
          memory: `${MEMORY_MIB}M`,
        });
        const greeted = vm.waitFor(GREETING).then(() => performance.now() - started);
        await vm.start();
        await vm.exited;
        return greeted;
      },
      () => time(context, peer).pattern,
    ]);
    return [
      {
        name: 'create',
        what: 'in one process: create + start → first guest instruction',
        unit: 'ms',
        ours,
        peer: { what: `${SAME_BYTES}, from exec`, samples: theirs },
        limit: { ratio: 0.15, absolute: 5 },
        notes: ['until the byte that the guest writes first has reached the embedder'],
      },
    ];
  },
};

export const version: Benchmark = {
  name: 'version',
  async run(context) {
    const [cpuOurs, cpuPeer] = [new CpuTimes(), new CpuTimes()];
    const command = { command: [process.execPath, VMM, '--version'], pattern: 'typevisor' };
    const [ours = [], theirs = []] = await inTurns(context, '--version', [
      cpuOurs.side(context, command, 'exit'),
      cpuPeer.side(context, { command: [process.execPath, '-e', '0'] }, 'exit'),
    ]);
    return [
      {
        name: 'version',
        what: 'node vmm.js --version',
        unit: 'ms',
        ours,
        peer: { what: 'node -e 0', samples: theirs },
        cpu: { ours: cpuOurs.median, peer: cpuPeer.median },
        limit: { ratio: 1.4 },
        notes: [],
      },
    ];
  },
};
