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
 * @returns its exit code, or 128 + N when signal N ended it
 * @throws what `exited` rejects with; an error of our outputs, but for EPIPE, which is as SIGPIPE
 */
export async function runProgram(program: GuestProcess, terminal: boolean): Promise<number> {
  using _terminal = terminal ? followTerminal(program) : undefined;
  const written = Promise.all([
    connectOutput(program.stdout, process.stdout),
    connectOutput(program.stderr, process.stderr),
  ]);
  const broken = written.then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error,
  );
  process.stdin.on('error', () => program.stdin.end()).pipe(program.stdin);
  const { exitCode, signal } = await program.exited;
  process.stdin.unpipe(program.stdin).pause();
  const error = await broken;
  if (error?.code === 'EPIPE') return codeOfSignal('SIGPIPE');
  if (error) throw error;
  return signal ? 128 + constants.signals[signal] : (exitCode ?? EXIT.SOFTWARE);
}

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
