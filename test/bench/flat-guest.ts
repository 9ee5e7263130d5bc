/** Bare guests for benchmarks. Runs on: main. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { assemble } from '../support/assemble.js';
import type { Context } from './benchmark.js';

/** What a flat guest writes to the serial port with its first instructions. */
export const GREETING = 'A';
const FIRMWARE_BASE = 0xf_0000;

const SAY_AND_EXIT = `
  mov dx, 0x3f8
  mov al, '${GREETING}'
  out dx, al
  mov al, 0
  out 0xf4, al
  1: hlt
  jmp 1b
`;

/** 64 KiB that end in a reset vector: both monitors can start these bytes, QEMU as firmware, ours as a flat image. */
export function firmware({ folder }: Context): {
  readonly path: string;
  readonly load: number;
  readonly entry: number;
} {
  const source = `${SAY_AND_EXIT}\n .org 0xfff0\n .byte 0xea\n .word 0, ${FIRMWARE_BASE >>> 4}\n .org 0x10000`;
  const path = join(folder, 'firmware.bin');
  writeFileSync(path, assemble(source, { base: 0 }));
  return { path, load: FIRMWARE_BASE, entry: FIRMWARE_BASE + 0xfff0 };
}

/** Reads one port `count` times, a byte each, and exits. At 0x1000. */
export const portReader = (port: number, count: number): Uint8Array =>
  assemble(`
    mov ecx, ${count}
    mov dx, ${port}
    1: in al, dx
    dec ecx
    jnz 1b
    mov al, 0
    out 0xf4, al
    hlt`);

/** Greets and then halts for good, with an interrupt controller: it costs no CPU and no memory beyond its page. */
export const sleeper = (): Uint8Array =>
  assemble(`
    mov dx, 0x3f8
    mov al, '${GREETING}'
    out dx, al
    sti
    1: hlt
    jmp 1b`);
