/**
 * System tests with both halves in one place: a shell script for the guest, and what the host does meanwhile. The script runs
 * instead of a shell (guest-kernels/initramfs.ts) and says with `fail WHY` what is wrong; its exit status is the guest's verdict.
 */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { CpioEntry } from '../../guest-kernels/cpio.js';
import { withScript } from '../../guest-kernels/initramfs.js';
import { type ExitInfo, VirtualMachine, type VmConfig } from '../../src/index.js';
import { BOOT_LIMIT, GUEST, guest, guestName } from './guest.js';

/**
 * For one test, ms: a boot, and work that an emulated kernel does on a machine that does other things as well. Filling a file
 * system took 145 s of it in the rig of a slow host.
 */
export const GUEST_LIMIT = BOOT_LIMIT + 180_000;

/** A guest whose first process is the agent, for tests without a script; it ends before its test does. */
export const startWithAgent = (): Promise<VirtualMachine> =>
  VirtualMachine.start({ ...GUEST, agent: true, timeouts: { run: GUEST_LIMIT - 5000 } });

export interface GuestTest {
  /** Run with sh, below what `PRELUDE` defines. */
  readonly guest: string;
  /** Runs beside it; the test fails if it rejects. */
  readonly host?: (vm: VirtualMachine) => Promise<void>;
  readonly config?: Partial<VmConfig>;
  /** Files for the guest. */
  readonly files?: readonly CpioEntry[];
  /** What is looked at when the guest has ended. */
  readonly after?: (end: GuestEnd) => void | Promise<void>;
  /** For tests that do very much, ms; GUEST_LIMIT unless given. */
  readonly limit?: number;
  /** How the VM ends; as /init does it, unless said otherwise: switched off where there is ACPI, by a reset elsewhere. */
  readonly exit?: Partial<ExitInfo>;
}

export interface GuestEnd {
  readonly vm: VirtualMachine;
  readonly exit: ExitInfo;
  /** Everything on the console, lines ending as the guest's terminal ends them. */
  readonly console: string;
}

export const INIT_ENDS_BY = guestName === 'stock' ? 'poweroff' : 'reboot';

/** `fail WHY…`; `is WHAT ACTUAL WANTED`; `at_least WHAT ACTUAL LIMIT`. */
const PRELUDE = `
fail() { echo "FAIL: $*"; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1 is $2, not $3"; }
at_least() { [ "$2" -ge "$3" ] || fail "$1 is $2, less than $3"; }
`;

/**
 * A line of a script that waits for `tell`: for what the host does meanwhile, or because a machine that ends takes with it what its
 * programs have sent and the host has not read.
 */
export const UNTIL_TOLD = 'read -r _';

/** Lets a guest's script go on that waits to be told. @param word what `read` reads, where it wants to know something */
export function tell(vm: VirtualMachine, word = ''): void {
  vm.serial.write(`${word}\n`);
}

/** An initrd that runs `script`, with the functions above. */
export const scripted = (script: string, files: readonly CpioEntry[] = []): Uint8Array =>
  withScript(readFileSync(guest.initrd), `${PRELUDE}${script}\n`, files);

/** Everything a VM writes from now on, as text; grows. */
export function recorded(vm: VirtualMachine): { readonly text: string } {
  const chunks: string[] = [];
  vm.serial.on('data', (chunk: Buffer) => chunks.push(chunk.toString('latin1')));
  return {
    get text() {
      return chunks.join('');
    },
  };
}

/**
 * In the rig a guest may triple-fault through no fault of its own or ours: QEMU's SVM loses the guest's state under load, with host
 * addresses in the VMCB afterwards (rig/qemu-patch.ts; not all of it is mended by that).
 */
class BrokenByTheRig extends Error {
  override readonly name = 'BrokenByTheRig';
}

/** Tries of a guest that the rig broke. */
const TRIES = process.env['TYPEVISOR_RIG'] ? 2 : 1;

/** Runs one guest to its end. @throws Error with what it, or the host's half, says is wrong */
export async function runGuest(test: GuestTest): Promise<void> {
  for (let left = TRIES; ; left -= 1) {
    try {
      await runOnce(test);
      return;
    } catch (error) {
      if (!(error instanceof BrokenByTheRig) || left === 1) throw error;
      process.stdout.write(`the rig broke a guest, which runs once more: ${error.message}\n`);
    }
  }
}

async function runOnce(test: GuestTest): Promise<void> {
  await using vm = await VirtualMachine.create({
    ...GUEST,
    timeouts: { run: (test.limit ?? GUEST_LIMIT) - 5000 },
    ...test.config,
    initrd: scripted(test.guest, test.files),
  });
  const console = recorded(vm);
  const ended = new Promise((resolve) => vm.serial.once('end', resolve));
  await vm.start();
  const failed = await test.host?.(vm).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failed !== undefined) await vm.kill();
  const exit = await vm.exited;
  await ended;
  const { text } = console;
  if (TRIES > 1 && !test.exit && exit.reason === 'triple-fault') {
    throw new BrokenByTheRig(`${exit.message}; the console ends with:\n${text.slice(-500)}`);
  }
  const said = /^FAIL: .*$/m.exec(text)?.[0];
  if (said) throw new Error(said.trim(), { cause: text });
  if (failed !== undefined) throw new Error(`the host's half: ${String(failed)}\n${text}`, { cause: failed });
  expect(exit, text).toMatchObject(test.exit ?? { reason: INIT_ENDS_BY, code: 0 });
  if (!test.exit) expect(text).toContain('typevisor: exit 0');
  await test.after?.({ vm, exit, console: text });
}

/** One test with a Linux guest. */
export function guestTest(name: string, test: GuestTest): void {
  it(name, () => runGuest(test), TRIES * (test.limit ?? GUEST_LIMIT));
}
