/** QEMU's own tools as the reference for disk images: `qemu-img` and `qemu-io` of Debian's qemu-utils. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { Qcow2Image } from '../../src/backends/qcow2/image.js';
import type { Scratch } from './scratch.js';

export const qemuImg = (...args: readonly string[]): string =>
  execFileSync('qemu-img', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** Runs qemu-io's commands on an image: `write -z 64k 64k`, `discard 0 1M`. */
export const qemuIo = (path: string, ...commands: readonly string[]): string =>
  execFileSync('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path], {
    encoding: 'utf8',
  });

export interface Check {
  readonly errors: number;
  readonly leaks: number;
}

/** What `qemu-img check` finds wrong. */
export function check(path: string): Check {
  const { stdout, stderr } = spawnSync('qemu-img', ['check', '--output=json', path], { encoding: 'utf8' });
  if (!stdout) throw new Error(`qemu-img check ${path}: ${stderr}`);
  const report = JSON.parse(stdout) as Record<string, number>;
  return {
    errors: (report['corruptions'] ?? 0) + (report['check-errors'] ?? 0),
    leaks: report['leaks'] ?? 0,
  };
}

export const SOUND: Check = { errors: 0, leaks: 0 };

/** The disk in an image, as qemu-img sees it. */
export function contents(files: Scratch, path: string, ...options: readonly string[]): Uint8Array {
  const raw = files.path('contents.raw');
  qemuImg('convert', '-f', 'qcow2', '-O', 'raw', ...options, path, raw);
  return readFileSync(raw);
}

/** The disk in an image, as this project sees it. */
export async function ourContents(path: string): Promise<Uint8Array> {
  const image = await Qcow2Image.open(path, { readOnly: true });
  try {
    const bytes = new Uint8Array(image.size).fill(0xee);
    await image.read(0, bytes);
    return bytes;
  } finally {
    await image.close();
  }
}

/** Makes an image of `disk` with qemu-img. @param options as for `convert`: `-c`, `-o cluster_size=512` */
export function makeImage(
  files: Scratch,
  name: string,
  disk: Uint8Array,
  ...options: readonly string[]
): string {
  const raw = files.path(`${name}.source`);
  writeFileSync(raw, disk);
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, files.path(name));
  return files.path(name);
}

/** Without printing a megabyte when they differ. */
export function expectSame(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  expect(at, 'first byte that differs').toBe(-1);
}
