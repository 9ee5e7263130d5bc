/** O_DIRECT's rules on a host that has them all: an engine that refuses what is not aligned to 4096 bytes. */
import { truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { afterAll, describe, expect, it } from 'vitest';
import type { BlockBackend } from '../../../src/devices/blk/backend.js';
import { addon } from '../../../src/host/addon.js';
import { type Alignment, DirectIo } from '../../../src/host/direct-io.js';
import type { Done, FileIo } from '../../../src/host/file-io.js';
import { PoolIo } from '../../../src/host/pool-io.js';
import { describeBlockBackend } from '../../support/block-backend-contract.js';
import { scratch } from '../../support/scratch.js';

const EINVAL = -22;
const folder = scratch();
afterAll(() => folder[Symbol.dispose]());
const path = folder.path('file');

/** Refuses as the kernel does, answers later than asked, and counts. */
class StrictIo implements FileIo {
  readonly name = 'pool';
  readonly #io = new PoolIo();
  calls = 0;

  constructor(private readonly alignment: Alignment) {}

  readv(fd: number, offset: number, into: readonly Uint8Array[], done: Done): void {
    this.#strictly(offset, into, done, (then) => this.#io.readv(fd, offset, into, then));
  }
  writev(fd: number, offset: number, from: readonly Uint8Array[], done: Done): void {
    this.#strictly(offset, from, done, (then) => this.#io.writev(fd, offset, from, then));
  }
  sync(fd: number, done: Done): void {
    this.#io.sync(fd, done);
  }
  fallocate(fd: number, mode: number, offset: number, length: number, done: Done): void {
    this.#io.fallocate(fd, mode, offset, length, done);
  }
  close(): Promise<void> {
    return this.#io.close();
  }

  #strictly(offset: number, pieces: readonly Uint8Array[], done: Done, call: (done: Done) => void): void {
    this.calls += 1;
    const { memory, offset: unit } = this.alignment;
    const sound =
      offset % unit === 0 &&
      pieces.every((piece) => piece.length % unit === 0 && addon.addressOf(piece) % memory === 0);
    if (sound) setImmediate(() => call(done));
    else setImmediate(() => done(EINVAL));
  }
}

/** A disk that is nothing but DirectIo and the loop over short results. */
async function diskOn(alignment: Alignment, strict = new StrictIo(alignment)): Promise<BlockBackend> {
  const file = await open(path, 'r+');
  const io = new DirectIo(strict, alignment);
  const { size } = await file.stat();
  const all = async (what: 'readv' | 'writev', offset: number, bytes: Uint8Array): Promise<void> => {
    if (offset < 0 || !(offset + bytes.length <= size)) throw new RangeError('outside');
    for (let at = 0; at < bytes.length; ) {
      const result = await new Promise<number>((resolve) =>
        io[what](file.fd, offset + at, [bytes.subarray(at)], resolve),
      );
      if (result <= 0) throw new Error(`${what}: ${result}`);
      at += result;
    }
  };
  return {
    size,
    read: (offset, into) => all('readv', offset, into),
    write: (offset, from) => all('writev', offset, from),
    async close() {
      await io.close();
      await file.close();
    },
  };
}

describe('direct I/O', () => {
  for (const alignment of [
    { memory: 4096, offset: 4096 },
    { memory: 4, offset: 512 },
    { memory: 512, offset: 65_536 },
  ]) {
    describeBlockBackend(
      `with addresses in steps of ${alignment.memory} and blocks of ${alignment.offset}`,
      {
        async make(content) {
          // The last block is whole, as the file disk sees to.
          writeFileSync(path, content);
          const disk = await diskOn(alignment);
          truncateSync(path, Math.ceil(content.length / alignment.offset) * alignment.offset);
          return disk;
        },
      },
      { rounds: 150 },
    );
  }

  it('hands what is aligned to the engine as it is, in one call', async () => {
    writeFileSync(path, new Uint8Array(2 ** 20));
    const alignment = { memory: 4096, offset: 4096 };
    const strict = new StrictIo(alignment);
    const disk = await diskOn(alignment, strict);
    const bytes = new Uint8Array(2 ** 19 + 4096);
    const start = (4096 - (addon.addressOf(bytes) % 4096)) % 4096;
    await disk.read(4096, bytes.subarray(start, start + 2 ** 19));
    expect(strict.calls).toBe(1);
    await disk.close?.();
  });
});
