/** Every number that file I/O takes from the kernel's headers, against those headers, by one C program. */
import { describe, expect, it } from 'vitest';
import { STATX } from '../../src/host/direct-io.js';
import { FLOCK, LOCK } from '../../src/host/file-lock.js';
import * as abi from '../../src/host/io-uring-abi.js';
import { BLKGETSIZE64 } from '../../src/host/open-file.js';
import { evaluateC } from '../support/compile.js';

const claims = new Map<string, number>();

/** Offsets of a struct's fields; `size` is its own. */
function claimStruct(name: string, offsets: Readonly<Record<string, number>>, constants = /^[A-Z]/): void {
  for (const [field, offset] of Object.entries(offsets)) {
    if (field === 'size') claims.set(`sizeof(struct ${name})`, offset);
    else if (constants.test(field)) claims.set(field, offset);
    else claims.set(`offsetof(struct ${name}, ${field})`, offset);
  }
}

for (const [name, number] of Object.entries(abi.SYS)) claims.set(`__NR_${name}`, number);
claimStruct('io_uring_params', abi.io_uring_params);
claimStruct('io_sqring_offsets', abi.io_sqring_offsets);
claimStruct('io_cqring_offsets', abi.io_cqring_offsets);
claimStruct('io_uring_sqe', abi.io_uring_sqe);
claimStruct('io_uring_cqe', abi.io_uring_cqe);
claimStruct('iovec', abi.iovec);
claimStruct('statx', STATX);
claimStruct('flock', FLOCK);
for (const table of [abi.OP, abi.FLAGS, abi.FALLOC_FL, LOCK, { BLKGETSIZE64 }]) {
  for (const [name, value] of Object.entries(table)) claims.set(name, value);
}

describe('the declarations for file I/O', () => {
  const actual = evaluateC(
    [
      'asm/unistd.h',
      'linux/io_uring.h',
      'linux/falloc.h',
      'linux/fcntl.h',
      'linux/fs.h',
      'linux/stat.h',
      'linux/uio.h',
    ],
    [...claims.keys()],
  );

  it('are many', () => {
    expect(claims.size).toBeGreaterThan(60);
  });

  it.each([...claims])('%s is %i', (expression, value) => {
    expect(actual.get(expression)).toBe(BigInt(value));
  });
});
