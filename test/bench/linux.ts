/** The row about Linux on this host's KVM: from exec to the first line of /init. Runs on: main. */
import { join } from 'node:path';
import { type LeanGuest, leanGuest } from '../../guest-kernels/lean.js';
import { type Benchmark, inTurns } from './benchmark.js';
import { VirtualMachine } from './library.js';
import { ensureQemu, qemuLinux } from './qemu.js';
import { CpuTimes, time } from './stopwatch.js';

const VMM = join(import.meta.dirname, '../../vmm.js');
export const INIT_UP = 'typevisor: init up';
export const MEMORY_MIB = 128;

/** The command line as a guest of ours gets it, so that both kernels read the same words. */
export async function commandLineOf(guest: Pick<LeanGuest, 'kernel' | 'benchInitrd'>): Promise<string> {
  await using vm = await VirtualMachine.create({
    kernel: guest.kernel,
    initrd: guest.benchInitrd,
    memory: `${MEMORY_MIB}M`,
    cmdline: 'quiet',
  });
  return vm.cmdline!;
}

export const linux: Benchmark = {
  name: 'linux',
  async run(context) {
    await ensureQemu(context);
    const guest = await leanGuest({ progress: context.progress });
    const { kernel, benchInitrd: initrd } = guest;
    const image = [
      '--kernel',
      kernel,
      '--initrd',
      initrd,
      '--memory',
      `${MEMORY_MIB}M`,
      '--cmdline',
      'quiet',
    ];
    const ours = { command: [process.execPath, VMM, ...image], pattern: INIT_UP, endless: true };
    const cmdline = await commandLineOf(guest);
    const peer = {
      command: qemuLinux({ kernel, initrd, cmdline, memoryMib: MEMORY_MIB }),
      pattern: INIT_UP,
      endless: true,
    };
    const what = "exec → message from /init, this host's KVM";
    try {
      time(context, peer);
    } catch (error) {
      return [{ name: 'linux', what, why: `QEMU does not boot this kernel here: ${String(error)}` }];
    }
    const [cpuOurs, cpuPeer] = [new CpuTimes(), new CpuTimes()];
    const [a = [], b = []] = await inTurns(context, "Linux on this host's KVM", [
      cpuOurs.side(context, ours, 'pattern'),
      cpuPeer.side(context, peer, 'pattern'),
    ]);
    return [
      {
        name: 'linux',
        what,
        unit: 'ms',
        ours: a,
        peer: { what: 'QEMU microvm, same kernel, initrd, RAM, command line', samples: b },
        cpu: { ours: cpuOurs.median, peer: cpuPeer.median },
        limit: { ratio: 0.9 },
        notes: [`command line of both: ${cmdline}`],
      },
    ];
  },
};
