/** What is read out of kernel modules: ELF objects made here by hand, and damaged ones. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { moduleInfo } from '../../../guest-kernels/module-info.js';
import { RecipeError } from '../../../guest-kernels/recipe-error.js';

let object: Buffer;
let other: Buffer;
beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-module-'));
  const assemble = (source: string): Buffer => {
    execFileSync('as', ['--64', '-o', join(folder, 'o')], { input: source });
    return readFileSync(join(folder, 'o'));
  };
  try {
    writeFileSync(join(folder, 'o'), '');
    object = assemble(`
      .section .modinfo,"a"
      .string "license=GPL"
      .balign 8
      .string "alias=virtio:d00000002v*"
      .string "alias=virtio:d00000003v*"
      .string "depends=virtio_ring,virtio"
      .string "parm=a=b"
      .text
      nop
    `);
    other = assemble('nop\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
afterAll(() => expect(object.length).toBeGreaterThan(0));

describe('moduleInfo', () => {
  it('gives every key with its values in order; padding between strings is none', () => {
    expect(Object.fromEntries(moduleInfo(object))).toEqual({
      license: ['GPL'],
      alias: ['virtio:d00000002v*', 'virtio:d00000003v*'],
      depends: ['virtio_ring,virtio'],
      parm: ['a=b'],
    });
  });

  it('refuses what is no module, by a message', () => {
    expect(() => moduleInfo(other)).toThrow(new RecipeError('not a kernel module: no .modinfo section'));
    expect(() => moduleInfo(Buffer.from('hello'))).toThrow(new RecipeError('not an ELF module'));
    expect(() => moduleInfo(Buffer.alloc(0))).toThrow(RecipeError);
  });

  it('throws nothing but RecipeError for a module cut anywhere or damaged in its header', () => {
    const attempt = (bytes: Buffer): void => {
      try {
        moduleInfo(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(RecipeError);
      }
    };
    for (let length = 0; length < object.length; length += 1) attempt(object.subarray(0, length));
    for (let at = 0; at < 0x40; at += 1) {
      for (const value of [0x00, 0x7f, 0xff]) {
        const damaged = Buffer.from(object);
        damaged[at] = value;
        attempt(damaged);
      }
    }
    const table = Number(object.readBigUInt64LE(0x28));
    for (let at = table; at < object.length; at += 1) {
      const damaged = Buffer.from(object);
      damaged[at] = 0xff;
      attempt(damaged);
    }
  });
});
