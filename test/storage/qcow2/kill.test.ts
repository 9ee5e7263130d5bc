/** kill -9 of a process that writes, at any moment: qemu-img finds no error, and what was flushed is there. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Qcow2Image } from '../../../src/backends/qcow2/image.js';
import { HostError } from '../../../src/base/errors.js';
import { check, ourContents, qemuImg } from '../../support/qemu-img.js';
import { Random } from '../../support/random.js';
import { scratch } from '../../support/scratch.js';
import { stamps } from '../../support/sector-history.js';
import { killPlan } from './kill-plan.js';

const SIZE = 16 * 2 ** 20;
const ROUNDS = 5;

/** @returns the last group that the writer knew to be durable, −1 for none */
async function writeAndKill(path: string, seed: number, afterMs: number): Promise<number> {
  const script = join(import.meta.dirname, 'kill-writer.ts');
  const child: ChildProcessByStdio<null, Readable, null> = spawn(
    process.execPath,
    ['--import', 'tsx', script, path, `${seed}`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let durable = -2;
  const exited = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'ready') {
      durable = -1;
      setTimeout(afterMs).then(() => child.kill('SIGKILL'));
    } else durable = Number(line);
  }
  const [code, signal] = await exited;
  expect([code, signal, durable > -2]).toEqual([null, 'SIGKILL', true]);
  await unlocked(path);
  return durable;
}

/** The kernel finishes what io_uring had in flight, and gives up the lock, a little after the process has ended. */
async function unlocked(path: string): Promise<void> {
  for (const started = performance.now(); ; await setTimeout(20)) {
    try {
      return await (await Qcow2Image.open(path)).close();
    } catch (error) {
      const locked = error instanceof HostError && error.message.includes('in use');
      if (!locked || performance.now() - started > 10_000) throw error;
    }
  }
}

describe.each(['cluster_size=64k', 'cluster_size=512', 'cluster_size=4k,compat=0.10'])(
  'an image with %s',
  (options) => {
    it('survives kill -9 of its writer', async () => {
      using files = scratch();
      const path = files.path('image');
      qemuImg('create', '-f', 'qcow2', '-o', options, path, `${SIZE}`);
      const random = Random.fromEnvironment(options.length);
      const allowed = Array.from({ length: SIZE / 512 }, () => new Set([0]));
      let flushes = 0;
      for (let round = 1; round <= ROUNDS; round += 1) {
        const durable = await writeAndKill(path, round, random.below(400));
        flushes += durable + 1;
        // Groups after the last durable one: some of them may have been written. A hundred without a flush do not happen.
        const plan = killPlan(round, SIZE / 512);
        for (let group = 0; group < durable + 100; group += 1) {
          for (const { first, count, contents } of plan().requests) {
            for (let sector = first; sector < first + count; sector += 1) {
              if (group <= durable) allowed[sector]!.clear();
              allowed[sector]!.add(contents);
            }
          }
        }
        expect(check(path).errors).toBe(0);
        const found = stamps(await ourContents(path));
        const wrong = found.findIndex((contents, sector) => !allowed[sector]!.has(contents));
        expect(wrong, 'first sector with contents it cannot have').toBe(-1);
        for (const [sector, contents] of found.entries()) allowed[sector] = new Set([contents]);
      }
      expect(flushes).toBeGreaterThan(0);
    });
  },
);
