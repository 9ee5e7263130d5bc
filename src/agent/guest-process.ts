/**
 * A program in the guest: its three streams, its signals, its end. Each stream has a window of its own, so that one nobody reads holds
 * up neither the others nor a signal.
 * Runs on: main.
 */
import { constants } from 'node:os';
import { Readable, Writable } from 'node:stream';
import { VmmError } from '../base/errors.js';
import { type Frame, garbage, text, u8, u16, u32 } from './frames.js';
import { ANSWER, MAX_PAYLOAD, REQUEST, SPAWN_PTY, WINDOW } from './protocol.js';
import { type AgentSession, callError } from './session.js';

/** Bytes of output that may wait for a reader, each stream. */
const OUTPUT_WINDOW = 256 * 1024;
/** How long the agent may take to tell of a program's end after SIGKILL, ms; then the connection is closed, which kills as well. */
const KILL_MS = 5000;

/** How a program ended: with a code of its own, or by a signal. */
export interface ProcessEnd {
  /** 0 to 255; null when a signal ended it. */
  readonly exitCode: number | null;
  /** Null when it ended by itself. */
  readonly signal: NodeJS.Signals | null;
}

/** A terminal's size. */
export interface TerminalSize {
  /** 1 to 65535, as `columns`. */
  readonly rows: number;
  /** Characters of a line. */
  readonly columns: number;
}

export interface SpawnRequest {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly user: string;
  readonly pty: TerminalSize | undefined;
}

const signalNames = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number as number, name as NodeJS.Signals]),
);

/**
 * A program that `vm.spawn` started. It is the leader of a process group of its own, which signals reach as a whole. Its streams are Node
 * streams; output that nobody reads makes the program wait. When the VM ends, `exited` rejects and the streams end.
 */
export class GuestProcess implements AsyncDisposable {
  /** What the program reads. With a terminal, what is typed. */
  readonly stdin: Writable;
  /** What it writes; with a terminal, all of it. */
  readonly stdout: Readable;
  /** Its errors; with a terminal, nothing. */
  readonly stderr: Readable;
  /** Its number in the guest. Rejects when it cannot be started. */
  readonly pid: Promise<number>;
  /**
   * Resolves when it has ended; its streams end when nobody has its output any more, as a child in the background may. Rejects when it
   * cannot be started, or the VM ends first.
   */
  readonly exited: Promise<ProcessEnd>;
  readonly #session: AgentSession;
  readonly #outputs: readonly Output[];
  #inputCredit = WINDOW;
  #input: { rest: Uint8Array; readonly done: (error?: Error | null) => void } | undefined;
  #ended = false;
  #resolvePid!: (pid: number) => void;
  #rejectPid!: (error: unknown) => void;
  #resolveExit!: (end: ProcessEnd) => void;
  #rejectExit!: (error: unknown) => void;
  #resolveClosed!: () => void;
  readonly #closed = new Promise<void>((resolve) => {
    this.#resolveClosed = resolve;
  });

  /** Made by `vm.spawn`. */
  constructor(session: AgentSession, request: SpawnRequest) {
    this.#session = session;
    this.pid = new Promise((resolve, reject) => {
      this.#resolvePid = resolve;
      this.#rejectPid = reject;
    });
    this.exited = new Promise((resolve, reject) => {
      this.#resolveExit = resolve;
      this.#rejectExit = reject;
    });
    // Whoever waits for one of them need not wait for the other.
    this.pid.catch(() => {});
    this.exited.catch(() => {});
    this.#outputs = [0, 1].map(
      (index) => new Output((bytes) => session.send(REQUEST.CREDIT, u8(index), u32(bytes))),
    );
    [this.stdout, this.stderr] = this.#outputs as [Output, Output];
    this.stdin = this.#makeInput();
    session.send(REQUEST.SPAWN, encodeSpawn(request));
    for (const index of [0, 1]) session.send(REQUEST.CREDIT, u8(index), u32(OUTPUT_WINDOW));
    session.handle({
      frame: (frame) => this.#frame(frame, request),
      lost: (error) => this.#fail(error),
    });
  }

  /** Sends a signal to the program's process group; SIGTERM unless given. Nothing happens when it has ended. */
  kill(signal: NodeJS.Signals | number = 'SIGTERM'): void {
    const number = typeof signal === 'number' ? signal : constants.signals[signal];
    if (!(number > 0 && number < 65)) throw new VmmError('ERR_VMM_CONFIG', `no such signal: ${signal}`);
    if (!this.#ended) this.#session.send(REQUEST.SIGNAL, u8(number));
  }

  /** Kills the program and all that it started, also what left its process group or session, but for what its parent had left behind before. */
  killAll(): void {
    if (!this.#ended) this.#session.send(REQUEST.SIGNAL, u8(constants.signals.SIGKILL), u8(1));
  }

  /** Tells the program that its terminal has another size now. */
  resize({ rows, columns }: TerminalSize): void {
    if (!this.#ended) this.#session.send(REQUEST.RESIZE, u16(rows), u16(columns));
  }

  /** Kills it with all that it started, and waits until it is gone; whatever it wrote and nobody read is thrown away. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.killAll();
    this.stdout.resume();
    this.stderr.resume();
    const timer = setTimeout(() => {
      this.#session.close();
      this.#fail(new VmmError('ERR_TIMEOUT', 'the program did not end when it was killed'));
    }, KILL_MS);
    await this.#closed;
    clearTimeout(timer);
  }

  #makeInput(): Writable {
    return new Writable({
      write: (chunk: Uint8Array, _encoding, done) => {
        this.#input = { rest: chunk, done };
        this.#feed();
      },
      final: (done) => {
        if (!this.#ended) this.#session.send(REQUEST.STDIN_END);
        done();
      },
    });
  }

  /** Sends as much input as there is credit for. What a program that has ended would have read is dropped, as by a closed pipe. */
  #feed(): void {
    const input = this.#input;
    if (!input) return;
    while (input.rest.length > 0 && this.#inputCredit > 0 && !this.#ended) {
      const part = input.rest.subarray(0, Math.min(this.#inputCredit, MAX_PAYLOAD));
      this.#session.send(REQUEST.STDIN, part);
      this.#inputCredit -= part.length;
      input.rest = input.rest.subarray(part.length);
    }
    if (input.rest.length > 0 && !this.#ended) return;
    this.#input = undefined;
    input.done();
  }

  #frame(frame: Frame, { argv }: SpawnRequest): void {
    const { type, payload } = frame;
    switch (type) {
      case ANSWER.STARTED:
        this.#resolvePid(payload.length >= 4 ? payload.readUInt32LE() : 0);
        return;
      case ANSWER.STDOUT:
      case ANSWER.STDERR:
        if (!this.#outputs[type - ANSWER.STDOUT]!.receive(payload))
          this.#fail(garbage('output without credit'));
        return;
      case ANSWER.STDIN_CREDIT:
        this.#inputCredit = Math.min(
          WINDOW,
          this.#inputCredit + (payload.length >= 4 ? payload.readUInt32LE() : 0),
        );
        this.#feed();
        return;
      case ANSWER.EXIT: {
        const [signal = 0, code = 0] = payload;
        const end = signal ? { exitCode: null, signal: nameOf(signal) } : { exitCode: code, signal: null };
        this.#resolveExit(end);
        return;
      }
      case ANSWER.DONE:
        // Nothing to an agent that has told of the program's start and end.
        this.#fail(garbage('an end of what has not ended'));
        return;
      case ANSWER.ERROR:
        this.#fail(callError(`cannot start ${argv[0]}`, frame));
        return;
      default:
        this.#fail(garbage(`message ${type}`));
    }
  }

  #fail(error: unknown): void {
    this.#rejectPid(error);
    this.#rejectExit(error);
    this.#finish();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#feed();
    for (const output of this.#outputs) output.push(null);
    this.#session.close();
    this.#resolveClosed();
  }
}

/** One stream of a program's output: gives credit for what its reader has taken. */
class Output extends Readable {
  #owed = 0;
  #credit = OUTPUT_WINDOW;

  constructor(private readonly grant: (bytes: number) => void) {
    super();
  }

  /** @returns false: that was more than there was credit for */
  receive(bytes: Buffer): boolean {
    this.#credit -= bytes.length;
    if (this.#credit < 0) return false;
    this.#owed += bytes.length;
    if (this.push(bytes)) this.#give();
    return true;
  }

  override _read(): void {
    this.#give();
  }

  /** Seldom enough to cost little, often enough that a program whose output is read never waits. */
  #give(): void {
    if (this.#owed < OUTPUT_WINDOW / 4) return;
    this.#credit += this.#owed;
    this.grant(this.#owed);
    this.#owed = 0;
  }
}

const nameOf = (signal: number): NodeJS.Signals =>
  signalNames.get(signal) ?? (`SIG${signal}` as NodeJS.Signals);

function encodeSpawn({ argv, env, cwd, user, pty }: SpawnRequest): Buffer {
  const variables = Object.entries(env).map(([name, value]) => text(`${name}=${value}`));
  const bytes = Buffer.concat([
    ...[u8(pty ? SPAWN_PTY : 0), u16(pty?.rows ?? 0), u16(pty?.columns ?? 0), text(user), text(cwd)],
    ...[u32(argv.length), ...argv.map(text), u32(variables.length), ...variables],
  ]);
  if (bytes.length <= MAX_PAYLOAD) return bytes;
  throw new VmmError(
    'ERR_VMM_CONFIG',
    `arguments and environment of ${bytes.length} bytes: ${MAX_PAYLOAD} at most`,
  );
}
