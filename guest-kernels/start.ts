/**
 * `npm start`: fetches the stock guest and boots it, directly where the host's KVM can, else inside the rig. In a terminal
 * it ends in a shell; otherwise the guest greets and powers off. Words after `npm start --` go to the command.
 * Runs on: main.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type DoctorReport, doctor } from '../src/index.js';
import { Interruption } from './interruption.js';
import { Progress } from './progress.js';
import { RecipeError } from './recipe-error.js';
import { type StockGuest, stockGuest } from './stock.js';

const ROOT = dirname(import.meta.dirname);
const MEMORY = '256M';

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** @returns the exit code */
export async function start(args: readonly string[]): Promise<number> {
  using interruption = new Interruption();
  let command: readonly string[];
  try {
    command = await prepare(args, interruption.signal);
  } catch (error) {
    if (interruption.status !== undefined) return interruption.status;
    if (!(error instanceof RecipeError)) throw error;
    say(`start: ${error.message}${error.hint ? ` (${error.hint})` : ''}`);
    return 70;
  }
  await setImmediate(); // a signal that has come is told by the event loop
  interruption[Symbol.dispose](); // from here on it is for the command to say what a signal does
  return interruption.status ?? (await run(command));
}

/** Fetches what is missing. @returns the command that boots the guest */
async function prepare(args: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  const progress = new Progress();
  const host = await doctor();
  const guest = await stockGuest({ progress, signal });
  const interactive = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const command = [process.execPath, join(ROOT, 'vmm.js'), ...guestArguments(guest, interactive), ...args];
  const leave = (): void => {
    if (interactive) say('Ctrl-] leaves');
  };
  if (host.boots.stock) {
    say(`booting Linux ${guest.release}: this host's KVM runs it directly`);
    leave();
    return command;
  }
  const { prepareMachine } = await import('../test/rig/machine.js');
  await prepareMachine({ progress, signal });
  say(
    `booting Linux ${guest.release} in the rig, an emulated machine with a KVM of its own: ${whyRig(host)}`,
  );
  leave();
  const rig = [process.execPath, '--import', 'tsx', join(ROOT, 'test/rig/main.ts')];
  return [...rig, ...(interactive ? ['--tty'] : []), '--', ...command];
}

function guestArguments({ kernel, initrd }: StockGuest, interactive: boolean): string[] {
  const cmdline = interactive ? 'quiet' : 'quiet typevisor.run=greeting';
  return ['--kernel', kernel, '--initrd', initrd, '--memory', MEMORY, '--cmdline', cmdline];
}

function whyRig({ host, checks }: DoctorReport): string {
  if (host === 'software')
    return "this host's KVM emulates guest kernel code, and knows too few instructions for it";
  const wrong = checks.find(({ ok }) => !ok);
  return wrong ? `${wrong.name}: ${wrong.detail}` : 'this host cannot';
}

/** Runs a command on this terminal. Ctrl-C reaches it as well; what it does about it is its business. */
function run([file, ...args]: readonly string[]): Promise<number> {
  const ignore = (): void => {};
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, ignore);
  const child = spawn(file!, args, { stdio: 'inherit' });
  const forward = (): void => void child.kill('SIGTERM');
  process.on('SIGTERM', forward);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
}
