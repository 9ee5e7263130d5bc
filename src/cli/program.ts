/** A program in the guest on this process's standard input and outputs, in a terminal like ours when it is to have one. */
import { constants } from 'node:os';
import type { GuestProcess, TerminalSize } from '../index.js';
import { codeOfSignal, EXIT } from './exit-codes.js';
import { connectOutput } from './stdio.js';

/** Of our terminal. */
export const terminalSize = ({ rows, columns } = process.stdout): TerminalSize => ({
  rows: rows || 24,
  columns: columns || 80,
});

/**
 * Connects it, until it has ended and all it wrote was handed over.
 * @param terminal whether every key goes to the program, whose terminal is as large as ours
 * @returns its exit code, or 128 + N when signal N ended it; 141 as of SIGPIPE when our output is closed, whatever it does then
 * @throws what `exited` rejects with; another error of our outputs
 */
export async function runProgram(program: GuestProcess, terminal: boolean): Promise<number> {
  using _terminal = terminal ? followTerminal(program) : undefined;
  const written = Promise.all([
    connectOutput(program.stdout, process.stdout),
    connectOutput(program.stderr, process.stderr),
  ]);
  process.stdin.on('error', () => program.stdin.end()).pipe(program.stdin);
  try {
    // A program that nobody reads any more may write for ever, or wait for ever to write.
    const { exitCode, signal } = await Promise.race([program.exited, failureOf(written)]);
    await written;
    return signal ? 128 + constants.signals[signal] : (exitCode ?? EXIT.SOFTWARE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') return codeOfSignal('SIGPIPE');
    throw error;
  } finally {
    process.stdin.unpipe(program.stdin).pause();
  }
}

/** Rejects as it does, and never resolves. */
const failureOf = (work: Promise<unknown>): Promise<never> =>
  new Promise((_, reject) => {
    work.catch(reject);
  });

function followTerminal(program: GuestProcess): Disposable {
  const { stdin, stdout } = process;
  const follow = (): void => program.resize(terminalSize());
  const restore = (): void => void stdin.setRawMode(false);
  stdin.setRawMode(true);
  process.once('exit', restore);
  stdout.on('resize', follow);
  return {
    [Symbol.dispose]() {
      stdout.off('resize', follow);
      process.off('exit', restore);
      restore();
    },
  };
}
