/** Bare guests from assembly: binutils turn Intel syntax into the bytes of a flat binary. */
import { type ExecFileSyncOptions, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const cache = new Map<string, Uint8Array>();

/**
 * @param source GNU assembler, Intel syntax; `base` is where it will lie
 * @returns the bytes; throws with the assembler's words
 */
export function assemble(source: string, { bits = 16, base = 0x1000 } = {}): Uint8Array {
  const key = `${bits} ${base} ${source}`;
  const known = cache.get(key);
  if (known) return known;
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-as-'));
  try {
    const path = (name: string): string => join(folder, name);
    writeFileSync(
      path('guest.s'),
      `.intel_syntax noprefix\n.code${bits}\n.globl _start\n_start:\n${source}\n`,
    );
    const options: ExecFileSyncOptions = { stdio: ['ignore', 'pipe', 'pipe'] };
    execFileSync('as', ['--64', '-o', path('guest.o'), path('guest.s')], options);
    const link = ['-m', 'elf_x86_64', '-Ttext', `0x${base.toString(16)}`, '--oformat', 'binary', '-N'];
    execFileSync('ld', [...link, '-o', path('guest.bin'), path('guest.o')], options);
    const bytes = new Uint8Array(readFileSync(path('guest.bin')));
    cache.set(key, bytes);
    return bytes;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Real mode code at 0x1000. */
export const real = (source: string): Uint8Array => assemble(source);

/** Long mode code at 0x10_0000, and how a configuration says so. */
export const long = (source: string): Uint8Array => assemble(source, { bits: 64, base: 0x10_0000 });
export const LONG = { load: 0x10_0000, mode: 'long' } as const;
