/**
 * The initramfs of every guest: busybox, our /init and, for a modular kernel, its modules. Something to run, or files to
 * have, come in an overlay: a second archive behind the first, which Linux unpacks over it
 * (Linux Documentation/driver-api/early-userspace/buffer-format.rst). Every archive is whole blocks, so appending is all.
 * Runs on: main.
 */
import { readFileSync } from 'node:fs';
import { type CpioEntry, cpio } from './cpio.js';

/** The files /init consists of, for a recipe to declare. */
export const INITRAMFS_SOURCES: readonly URL[] = ['init.sh', 'greeting.awk', 'fstab', 'profile'].map(
  (name) => new URL(`./initramfs/${name}`, import.meta.url),
);

export interface InitramfsOptions {
  /** A statically linked busybox whose shell prefers its own applets (Debian's busybox-static). */
  readonly busybox: Uint8Array;
  /** `lib/modules/…` of a modular kernel, from `moduleEntries`. */
  readonly modules?: readonly CpioEntry[];
  readonly extra?: readonly CpioEntry[];
}

/** The archive every guest starts from. */
export function baseInitramfs({ busybox, modules = [], extra = [] }: InitramfsOptions): Buffer {
  return cpio([
    // The kernel opens the console for /init before anything is mounted.
    { type: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    { type: 'character-device', path: 'dev/null', major: 1, minor: 3, mode: 0o666 },
    ...['proc', 'sys', 'run', 'mnt', 'etc'].map((path): CpioEntry => ({ type: 'directory', path })),
    { type: 'directory', path: 'root', mode: 0o700 },
    { type: 'directory', path: 'tmp', mode: 0o1777 },
    { type: 'file', path: 'bin/busybox', mode: 0o755, data: busybox },
    // The shell finds every other applet in itself; these two are what scripts and programs name by path.
    { type: 'symlink', path: 'bin/sh', target: 'busybox' },
    { type: 'symlink', path: 'sbin/modprobe', target: '../bin/busybox' },
    { type: 'file', path: 'init', mode: 0o755, data: source('init.sh') },
    { type: 'file', path: 'etc/greeting.awk', data: source('greeting.awk') },
    { type: 'file', path: 'etc/fstab', data: source('fstab') },
    { type: 'file', path: 'etc/profile', data: source('profile') },
    ...modules,
    ...extra,
  ]);
}

/** `base` with files added or replaced. */
export function withOverlay(base: Uint8Array, entries: Iterable<CpioEntry>): Buffer {
  return Buffer.concat([base, cpio(entries)]);
}

/**
 * `base` that, instead of a shell, runs `script` with sh, prints `typevisor: exit N` and ends the machine. The script
 * finds proc, sysfs, devtmpfs and the drivers in place.
 */
export function withScript(base: Uint8Array, script: string, files: readonly CpioEntry[] = []): Buffer {
  return withOverlay(base, [...files, { type: 'file', path: 'typevisor/run', data: script, mode: 0o755 }]);
}

function source(name: string): Buffer {
  return readFileSync(new URL(`./initramfs/${name}`, import.meta.url));
}
