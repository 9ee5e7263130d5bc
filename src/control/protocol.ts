/**
 * What a VM's monitor and other commands of the same user say to each other on its control socket. The client sends one line of JSON,
 * `{"version":1,"verb":"info"}`; the monitor answers with one, `{"ok":true,…}` or `{"ok":false,"code","message","hint"}`. After the answer
 * to `agent` the connection is a byte stream to the guest's agent; every other connection is over. Lines are bounded, and so is the time
 * they may take.
 */
import type { Duplex } from 'node:stream';
import { VmmError, type VmmErrorCode } from '../base/errors.js';

export const VERSION = 1;
/** Longest line, bytes. */
export const MAX_LINE = 64 * 1024;
/** How long a side may take for a line that it owes, ms. */
export const LINE_MS = 10_000;
/** Longest time that a request may ask for, ms: a day. */
const MOST_MS = 86_400_000;

/** What a client may ask. */
export type Request =
  | { readonly verb: 'info' }
  | { readonly verb: 'agent'; readonly timeout: number }
  | { readonly verb: 'stop'; readonly timeout: number; readonly force: boolean };

export type Fields = Readonly<Record<string, unknown>>;

export const encodeRequest = (request: Request): string =>
  `${JSON.stringify({ version: VERSION, ...request })}\n`;
export const encodeAnswer = (fields: Fields): string => `${JSON.stringify({ ok: true, ...fields })}\n`;

export function encodeRefusal(error: unknown): string {
  const { code, message, hint } =
    error instanceof VmmError
      ? error
      : new VmmError('ERR_CONTROL', error instanceof Error ? error.message : String(error));
  return `${JSON.stringify({ ok: false, code, message, hint })}\n`;
}

const garbage = (what: string): VmmError => new VmmError('ERR_CONTROL', `control socket: ${what}`);

function objectOf(line: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw garbage('not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw garbage('no object');
  return value as Record<string, unknown>;
}

/** @throws VmmError ERR_CONTROL with what is wrong */
export function parseRequest(line: string): Request {
  const { version, verb, timeout, force } = objectOf(line);
  if (version !== VERSION) {
    throw new VmmError('ERR_CONTROL', `control protocol ${String(version)} is not known, only ${VERSION}`, {
      hint: 'use the version of the command that started the VM',
    });
  }
  if (verb === 'info') return { verb };
  if (verb !== 'agent' && verb !== 'stop') throw garbage(`no such verb: ${String(verb).slice(0, 40)}`);
  if (typeof timeout !== 'number' || !(timeout >= 0 && timeout <= MOST_MS))
    throw garbage(`timeout must be 0 to ${MOST_MS} ms`);
  if (verb === 'agent') return { verb, timeout };
  if (typeof force !== 'boolean') throw garbage('force must be true or false');
  return { verb, timeout, force };
}

/** @returns the fields of the answer @throws the monitor's refusal; VmmError ERR_CONTROL for what is no answer */
export function parseAnswer(line: string): Fields {
  const { ok, ...fields } = objectOf(line);
  if (ok === true) return fields;
  const { code, message, hint } = fields;
  if (ok !== false || typeof code !== 'string' || !/^ERR_[A-Z_]{1,40}$/.test(code))
    throw garbage('no answer');
  const about = typeof hint === 'string' ? { hint } : {};
  throw new VmmError(code as VmmErrorCode, String(message), about);
}

/**
 * Takes one line from a stream and leaves it paused, with what follows still in it.
 * @returns the line without its end
 * @throws VmmError ERR_CONTROL when it ends first, or the line is too long or takes longer than `limit` ms
 */
export function readLine(stream: Duplex, limit = LINE_MS): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const settle = (action: () => void): void => {
      clearTimeout(timer);
      stream.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onError);
      stream.pause();
      action();
    };
    const fail = (what: string): void => settle(() => reject(garbage(what)));
    const onEnd = (): void => fail('closed before a line was complete');
    const onError = (error: Error): void => fail(error.message);
    const onData = (chunk: Buffer): void => {
      const end = chunk.indexOf(0x0a);
      const part = end < 0 ? chunk : chunk.subarray(0, end);
      length += part.length;
      chunks.push(part);
      if (length > MAX_LINE) fail(`a line of more than ${MAX_LINE} bytes`);
      else if (end >= 0)
        settle(() => {
          if (end + 1 < chunk.length) stream.unshift(chunk.subarray(end + 1));
          resolve(Buffer.concat(chunks).toString());
        });
    };
    const timer = setTimeout(() => fail(`no answer within ${limit / 1000} s`), limit);
    stream.on('data', onData).on('end', onEnd).on('close', onEnd).on('error', onError);
    stream.resume();
  });
}
