import { writeFile } from 'node:fs/promises';
import { afterAll, describe, expect } from 'vitest';
import { FileDisk, type FileDiskOptions } from '../../../src/backends/file-disk.js';
import { describeBlockBackend } from '../../support/block-backend-contract.js';
import { abilities, mayMount, type Scratch, scratch, tmpfs } from '../../support/scratch.js';

describe('a file disk', () => {
  const folder = scratch();
  afterAll(() => folder[Symbol.dispose]());
  const path = folder.path('disk.img');

  const maker = (options: FileDiskOptions) => ({
    async make(content: Uint8Array) {
      await writeFile(path, content);
      return FileDisk.open(path, options);
    },
    reopen: () => FileDisk.open(path, options),
  });

  describeBlockBackend('through io_uring', maker({ engine: 'io_uring' }));
  describeBlockBackend('through the thread pool', maker({ engine: 'pool' }));
  describe.skipIf(!abilities(folder).direct)('past the page cache', () => {
    describeBlockBackend('through io_uring', maker({ engine: 'io_uring', direct: true }), { rounds: 150 });
    describeBlockBackend('through the thread pool', maker({ engine: 'pool', direct: true }), { rounds: 150 });
  });
  describeBlockBackend('read-only', maker({ readOnly: true }));

  describe.skipIf(!mayMount())('on a file system that has holes but cannot zero a range', () => {
    let memory: Scratch | undefined;
    const inside = (): string => memory!.path('disk.img');
    describeBlockBackend('(tmpfs)', {
      async make(content) {
        memory = tmpfs(2 ** 22);
        expect(abilities(memory).zeroRange).toBe(false);
        await writeFile(inside(), content);
        return FileDisk.open(inside());
      },
      reopen: () => FileDisk.open(inside()),
      async cleanUp() {
        memory?.[Symbol.dispose]();
      },
    });
  });
});
