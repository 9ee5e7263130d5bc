/** Rows about exits: a guest that does nothing but read one port, against the least C program that could serve it. Runs on: main. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Benchmark, inTurns } from './benchmark.js';
import { portReader } from './flat-guest.js';
import { VirtualMachine } from './library.js';

/** Reads per sample: a few tenths of a second, so that starting and stopping do not count. */
const READS = 30_000;
/** The UART's line status: answered by the vCPU's thread from the register page. */
const PAGE_PORT = 0x3fd;
/** System control port A: a register of one line of TypeScript, so that what is measured is the way there and back. */
const TYPESCRIPT_PORT = 0x92;
const PEER = 'C loop over KVM_RUN';

export const exits: Benchmark = {
  name: 'exits',
  async run(context) {
    const image = join(context.folder, 'reader.bin');
    writeFileSync(image, portReader(PAGE_PORT, READS));
    const inC = (): number => {
      const output = execFileSync(context.peer('exit-loop'), [image], { encoding: 'utf8' });
      const [nanoseconds = Number.NaN, reads = Number.NaN] = output.trim().split(' ').map(Number);
      if (reads !== READS) throw new Error(`exit-loop: ${reads} reads, not ${READS}`);
      return nanoseconds / 1000 / reads;
    };
    const [page = [], typescript = [], peer = []] = await inTurns(context, 'exits', [
      () => readPort(PAGE_PORT),
      () => readPort(TYPESCRIPT_PORT),
      inC,
    ]);
    const common = { unit: 'µs', peer: { what: PEER, samples: peer } } as const;
    return [
      {
        ...common,
        name: 'exit-page',
        what: 'exit answered from the register page',
        ours: page,
        limit: { ratio: 1 },
        notes: ['per port read of a real-mode guest, with the loop around it'],
      },
      {
        ...common,
        name: 'exit-typescript',
        what: 'exit answered by TypeScript, hot',
        ours: typescript,
        limit: { ratio: 1.1 },
        notes: [],
      },
    ];
  },
};

/** @returns microseconds per read */
async function readPort(port: number): Promise<number> {
  const vm = await VirtualMachine.create({ kernel: portReader(port, READS), flat: {}, memory: '1M' });
  const started = performance.now();
  await vm.start();
  const { reason, code } = await vm.exited;
  const elapsed = performance.now() - started;
  if (reason !== 'exit' || code !== 0) throw new Error(`the guest ended with ${reason} ${code}`);
  return (elapsed * 1000) / READS;
}
