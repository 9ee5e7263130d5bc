/**
 * The guest's console on this process's standard input and output. In a terminal every key goes to the guest but
 * Ctrl-]; piped input ends in Ctrl-D, which is how a terminal says "end of input" to a Unix guest.
 */
import type { Duplex, Readable, Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';

const CTRL_CLOSE_BRACKET = 0x1d;
const CTRL_D = 0x04;
const NEWLINE = 0x0a;
/** A guest that has been silent for this long after the end of its input is told again, ms; then after twice as long. */
const REPEAT_MS = 1000;
const LONGEST_MS = 30_000;

/** What the functions here need of `process.stdin`. */
export type Input = Readable & Partial<Pick<ReadStream, 'isTTY' | 'setRawMode'>>;

/**
 * Copies everything the guest writes. A reader that stops reading stops the copying, not the guest: `serial` keeps
 * the newest output meanwhile.
 * @returns resolves when the guest's last byte was handed over; rejects when nobody takes it (EPIPE, ENOSPC)
 */
export function connectOutput(serial: Readable, output: Writable): Promise<void> {
  return new Promise((resolve, reject) => {
    output.on('error', reject);
    output.on('drain', () => serial.resume());
    serial.on('data', (chunk: Buffer) => {
      if (!output.write(chunk)) serial.pause();
    });
    serial.on('end', () => output.write('', () => resolve()));
  });
}

/**
 * Sends input to the guest as fast as it takes it.
 * @param onLeave called when the user typed Ctrl-]
 * @returns stops reading and gives the terminal back its mode
 */
export function connectInput(serial: Duplex, input: Input, onLeave: () => void): () => void {
  const terminal = input.isTTY === true;
  let last: number | undefined;
  const send = (bytes: Buffer): void => {
    if (bytes.length === 0 || serial.writableEnded || serial.destroyed) return;
    last = bytes.at(-1);
    if (!serial.write(bytes)) input.pause();
  };
  const onData = (chunk: Buffer): void => {
    const leave = terminal ? chunk.indexOf(CTRL_CLOSE_BRACKET) : -1;
    send(leave < 0 ? chunk : chunk.subarray(0, leave));
    if (leave >= 0) onLeave();
  };
  const onDrain = (): void => {
    input.resume();
  };
  const onEnd = (): void => {
    // In the middle of a line the first Ctrl-D only hands the line over.
    const inLine = last !== undefined && last !== NEWLINE;
    send(Buffer.from(inLine ? [CTRL_D, CTRL_D] : [CTRL_D]));
    repeatEnd(REPEAT_MS);
  };
  // Every read from a closed pipe meets its end; a Ctrl-D ends one read, and none at all if the program that was to read
  // it switches its terminal to raw mode first, as shells do. So it comes again while the guest has nothing to say.
  let again: NodeJS.Timeout | undefined;
  const repeatEnd = (ms: number): void => {
    again = setTimeout(() => {
      send(Buffer.from([CTRL_D]));
      repeatEnd(Math.min(2 * ms, LONGEST_MS));
    }, ms).unref();
  };
  const onOutput = (): void => void again?.refresh();
  // A terminal that hung up tells so by SIGHUP; input that cannot be read is input that ended.
  const onError = onEnd;

  const restore = (): void => {
    if (terminal) input.setRawMode?.(false);
  };
  if (terminal) input.setRawMode?.(true);
  process.once('exit', restore);
  input.on('data', onData).on('end', onEnd).on('error', onError);
  serial.on('drain', onDrain).on('data', onOutput);
  // Input that the guest can no longer take is dropped with the guest.
  serial.on('error', () => {});
  return () => {
    input.off('data', onData).off('end', onEnd).off('error', onError);
    serial.off('drain', onDrain).off('data', onOutput);
    clearTimeout(again);
    input.pause();
    process.off('exit', restore);
    restore();
  };
}
