import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { AsyncFile, type AsyncFileOptions } from '../../../src/host/async-file.js';
import { runC } from '../../support/compile.js';
import { mayMount, scratch } from '../../support/scratch.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());
const path = folder.path('file');

describe('opening a file', () => {
  const outcome = (target: string, options?: AsyncFileOptions): Promise<unknown> =>
    AsyncFile.open(target, options).then(
      (file) => file.close().then(() => 'opened'),
      (error: unknown) => error,
    );

  it.each([
    ['is missing', () => folder.path('none'), 'no such file'],
    ['is in no folder', () => folder.path('file/none'), 'no such file'],
    ['is a folder', () => folder.folder, 'is a directory'],
    ['is a device that is no disk', () => '/dev/zero', 'is neither a file nor a block device'],
  ])('says that it %s', async (_what, where, message) => {
    writeFileSync(path, '');
    expect(await outcome(where())).toMatchObject({ code: 'ERR_FILE', message: `${where()}: ${message}` });
  });

  it('does not wait for the other end of a pipe', async () => {
    execFileSync('mkfifo', [folder.path('pipe')]);
    expect(await outcome(folder.path('pipe'))).toMatchObject({
      message: expect.stringContaining('neither a file'),
    });
  });

  it.skipIf(!mayMount())('says what to do without the right to write', async () => {
    // Root may do everything but write to a read-only file system.
    const sealed = folder.path('sealed');
    mkdirSync(sealed);
    writeFileSync(`${sealed}/file`, 'x'.repeat(512));
    execFileSync('mount', ['--bind', sealed, sealed]);
    try {
      execFileSync('mount', ['-o', 'remount,bind,ro', sealed]);
      expect(await outcome(`${sealed}/file`)).toMatchObject({
        code: 'ERR_FILE',
        message: `${sealed}/file: the file system is read-only`,
        hint: 'open it read-only',
      });
      expect(await outcome(`${sealed}/file`, { readOnly: true })).toBe('opened');
    } finally {
      execFileSync('umount', ['-l', sealed]);
    }
  });

  it('makes a file only when told to, and with `new` only where there is none', async () => {
    const fresh = folder.path('fresh');
    expect(await outcome(fresh, { create: true })).toBe('opened');
    expect(existsSync(fresh)).toBe(true);
    expect(await outcome(fresh, { create: true })).toBe('opened');
    expect(await outcome(fresh, { create: 'new' })).toMatchObject({ message: `${fresh}: exists already` });
  });

  const impatient = { patienceMs: 0 };
  const inUse = { code: 'ERR_FILE', message: `${path} is in use by another VM` };

  it('locks: one writer, or any number of readers, in one process too', async () => {
    writeFileSync(path, new Uint8Array(512));
    {
      await using _writer = await AsyncFile.open(path);
      expect(await outcome(path, impatient)).toMatchObject(inUse);
      expect(await outcome(path, { readOnly: true, ...impatient })).toMatchObject(inUse);
      expect(await outcome(path, { lock: false })).toBe('opened');
    }
    {
      await using _reader = await AsyncFile.open(path, { readOnly: true });
      expect(await outcome(path, { readOnly: true })).toBe('opened');
      expect(await outcome(path, impatient)).toMatchObject(inUse);
    }
    expect(await outcome(path)).toBe('opened');
  });

  it('waits a little for a lock that is about to go', async () => {
    const holder = await AsyncFile.open(path);
    const waiting = outcome(path, { patienceMs: 10_000 });
    setTimeout(() => void holder.close(), 50);
    expect(await waiting).toBe('opened');
  });

  it('holds no lock while it waits: of two, the one that can have it gets it', async () => {
    const reader = await AsyncFile.open(path, { readOnly: true });
    const writer = outcome(path, { patienceMs: 200 });
    expect(await outcome(path, { readOnly: true, patienceMs: 100 })).toBe('opened');
    expect(await writer).toMatchObject(inUse);
    await reader.close();
  });

  it('locks against other processes with a lock on the whole file', async () => {
    writeFileSync(path, new Uint8Array(512));
    const other = (): string =>
      runC(`#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
int main(void) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int fd = open(${JSON.stringify(path)}, O_RDWR);
  puts(fd < 0 ? "cannot open" : fcntl(fd, F_OFD_SETLK, &lock) == 0 ? "locked" : errno == EAGAIN ? "in use" : "error");
  return 0;
}`).trim();
    const file = await AsyncFile.open(path, { readOnly: true });
    expect(other()).toBe('in use');
    await file.close();
    expect(other()).toBe('locked');
  });
});
