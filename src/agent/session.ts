/**
 * One connection to the agent and the request it carries. Frames come one after the other to whoever handles them; however it ends, the
 * handler hears of it once.
 * Runs on: main.
 */
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { GuestCallError, VmmError } from '../base/errors.js';
import { encodeFrame, type Frame, FrameDecoder, garbage, u16 } from './frames.js';
import { ANSWER, REQUEST, VERSION } from './protocol.js';

export interface SessionHandler {
  frame(frame: Frame): void;
  /** No more frames. @param error a VmmError that says why, also when the agent just closed the connection; or an aborted signal's reason */
  lost(error: unknown): void;
}

export interface SessionLimits {
  /** How long the agent may take for its welcome, ms: who takes the connection and says nothing is no agent. */
  readonly patience: number;
  /** Its abort ends the connection, and what it carries. */
  readonly signal?: AbortSignal | undefined;
}

const ENDS = ['error', 'end', 'close'] as const;
const errnoNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

export class AgentSession {
  readonly #connection: Duplex;
  readonly #decoder = new FrameDecoder();
  #handler: SessionHandler | undefined;
  #waiting: Frame[] = [];
  #welcomed = false;
  #lost: { readonly error: unknown } | undefined;
  #over = false;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #onData = (chunk: Buffer): void => this.#arrived(chunk);
  readonly #onEnd = (error?: Error): void => this.#lose(error);
  readonly #onAbort = (): void => this.#end(this.#signal!.reason);

  constructor(connection: Duplex, { patience, signal }: SessionLimits) {
    this.#connection = connection;
    this.#signal = signal;
    this.#timer = setTimeout(() => this.#end(silent(patience)), patience);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    connection.on('data', this.#onData);
    for (const event of ENDS) connection.on(event, this.#onEnd);
    connection.resume(); // whoever made it may have paused it
    this.send(REQUEST.HELLO, u16(VERSION), u16(VERSION));
    if (signal?.aborted) this.#onAbort();
  }

  /** Says who handles frames from now on. */
  handle(handler: SessionHandler): void {
    this.#handler = handler;
    for (const frame of this.#waiting.splice(0)) handler.frame(frame);
    if (this.#lost) handler.lost(this.#lost.error);
  }

  /** @returns false: wait for `drained` */
  send(type: number, ...parts: readonly Uint8Array[]): boolean {
    if (this.#over) return true;
    return this.#connection.write(encodeFrame(type, ...parts));
  }

  /** Resolves when what was sent is on its way, or the connection is over. */
  drained(): Promise<void> {
    if (this.#over || !this.#connection.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#connection.off('drain', done).off('close', done);
        resolve();
      };
      this.#connection.on('drain', done).on('close', done);
    });
  }

  /** No frames until `resume`. */
  pause(): void {
    this.#connection.pause();
  }
  resume(): void {
    this.#connection.resume();
  }

  /** Whatever the request started in the guest ends with it. */
  close(): void {
    this.#finish();
    this.#connection.destroy();
  }

  /** Nobody is told anything from now on. */
  #finish(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  /**
   * Sends a request that has one answer.
   * @throws GuestCallError when the guest's kernel refuses, VmmError when the connection is lost
   */
  async request(what: string, type: number, ...parts: readonly Uint8Array[]): Promise<Frame> {
    const answer = new Promise<Frame>((resolve, reject) => {
      this.handle({ frame: resolve, lost: reject });
    });
    this.send(type, ...parts);
    const frame = await answer;
    if (frame.type === ANSWER.ERROR) throw callError(what, frame);
    return frame;
  }

  /**
   * Sends a request after whose answer the connection carries no frames any more. Nobody hears of this session then.
   * @throws as `request`
   */
  takeOver(what: string, type: number, ...parts: readonly Uint8Array[]): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const frame = (answer: Frame): void => {
        // At once: what comes behind it, be it the end, is no longer ours.
        if (answer.type === ANSWER.DONE) resolve(this.#release());
        else
          reject(answer.type === ANSWER.ERROR ? callError(what, answer) : garbage(`message ${answer.type}`));
      };
      this.handle({ frame, lost: reject });
      this.send(type, ...parts);
    });
  }

  #release(): Duplex {
    const connection = this.#connection;
    this.#finish();
    connection.pause();
    connection.off('data', this.#onData);
    for (const event of ENDS) connection.off(event, this.#onEnd);
    const rest = this.#decoder.rest();
    if (rest.length > 0) connection.unshift(rest);
    return connection;
  }

  #arrived(chunk: Buffer): void {
    try {
      this.#decoder.add(chunk);
      // One at a time: what follows a frame may be none, once its handler has released the connection.
      while (!this.#over) {
        const frame = this.#decoder.next();
        if (!frame) return;
        if (this.#welcomed) this.#deliver(frame);
        else this.#welcome(frame);
      }
    } catch (error) {
      if (!(error instanceof VmmError)) throw error;
      this.#lose(error);
    }
  }

  #deliver(frame: Frame): void {
    if (this.#handler) this.#handler.frame(frame);
    else this.#waiting.push(frame);
  }

  #welcome({ type, payload }: Frame): void {
    if (type === ANSWER.WELCOME && payload.length >= 2 && payload.readUInt16LE() === VERSION) {
      this.#welcomed = true;
      clearTimeout(this.#timer);
    } else if (type === ANSWER.ERROR) {
      throw new VmmError('ERR_AGENT', "the guest's agent speaks another version of the protocol", {
        hint: 'use the agent that came with this version',
      });
    } else throw garbage('no welcome');
  }

  #lose(cause?: Error): void {
    this.#end(
      cause instanceof VmmError
        ? cause
        : new VmmError('ERR_AGENT', "the guest's agent closed the connection", { cause }),
    );
  }

  #end(error: unknown): void {
    if (this.#over) return;
    this.close();
    this.#lost = { error };
    this.#handler?.lost(error);
  }
}

const silent = (ms: number): VmmError =>
  new VmmError('ERR_AGENT', `the guest's agent took a connection and said nothing for ${ms / 1000} s`);

/** What the guest's kernel said. @param what was asked: `open /etc/motd` */
export function callError(what: string, { payload }: Frame): GuestCallError {
  const errno = payload.length >= 4 ? payload.readUInt32LE() : 0;
  return new GuestCallError(what, errno, errnoNames.get(errno) ?? `errno ${errno}`);
}
