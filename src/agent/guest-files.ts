/**
 * Files of the guest, for `vm.fs`: names and results as in node:fs/promises, paths absolute.
 * Runs on: main.
 */
import { Readable } from 'node:stream';
import { untilAborted } from '../base/abort.js';
import { GuestCallError, VmmError } from '../base/errors.js';
import { type Frame, garbage, text, u8, u32 } from './frames.js';
import type { DownloadOptions, FolderOptions, StartProgram } from './guest-folders.js';
import { ANSWER, DATA, MAX_PAYLOAD, REQUEST } from './protocol.js';
import { type AgentSession, callError } from './session.js';
import type { FolderCopy } from './tar-folder.js';

/** Bytes of struct stat as the agent sends it. */
const STATUS_SIZE = 56;
const S_IFMT = 0o170000;
const TYPES = new Map<number, FileType>([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
  [0o020000, 'character-device'],
  [0o060000, 'block-device'],
  [0o010000, 'fifo'],
  [0o140000, 'socket'],
]);
type FileType = 'file' | 'directory' | 'symlink' | 'character-device' | 'block-device' | 'fifo' | 'socket';

/** What `vm.fs.stat` tells. */
export interface GuestStat {
  /** What it is. */
  readonly type: FileType | 'unknown';
  /** Permission bits, with set-id and sticky: 0o755. */
  readonly mode: number;
  /** Owner. */
  readonly uid: number;
  /** Group. */
  readonly gid: number;
  /** Names it has. */
  readonly nlink: number;
  /** Bytes. */
  readonly size: number;
  /** Inode. */
  readonly ino: number;
  /** Last change of its content, ms since 1970. */
  readonly mtimeMs: number;
  /** Last access, ms since 1970. */
  readonly atimeMs: number;
  /** Last change of its attributes, ms since 1970. */
  readonly ctimeMs: number;
}

/** Bytes of a file that is read as a whole, unless said otherwise, and of a folder's names: a guest may go on for ever. */
const MAX_FILE = 2 ** 30;
const MAX_NAMES = 64 * 2 ** 20;

/** How a file is read. */
export interface GuestReadOptions {
  /** Its abort ends it. */
  readonly signal?: AbortSignal;
  /** Bytes; more are an error (ERR_AGENT). 1 GiB unless given when all of a file is read at once, none for a stream. */
  readonly maxBytes?: number;
}
/** How a file is written. */
export interface GuestWriteOptions {
  /** Its abort ends it. */
  readonly signal?: AbortSignal;
  /** Of a new file; 0o644 unless given. */
  readonly mode?: number;
}

/** Files of the guest. Fails with a GuestCallError whose `errnoName` is as Node's: `ENOENT`. */
export class GuestFiles {
  /** `vm.fs`. */
  constructor(
    private readonly open: (signal?: AbortSignal) => Promise<AgentSession>,
    private readonly start: StartProgram,
  ) {}

  /** All of a file. */
  readFile(path: string, options?: GuestReadOptions): Promise<Buffer>;
  /** All of a file, as text. */
  readFile(
    path: string,
    options: BufferEncoding | (GuestReadOptions & { encoding: BufferEncoding }),
  ): Promise<string>;
  /** As the two above. */
  async readFile(
    path: string,
    options: BufferEncoding | (GuestReadOptions & { readonly encoding?: BufferEncoding }) = {},
  ): Promise<Buffer | string> {
    const { encoding, ...rest } = typeof options === 'string' ? { encoding: options } : options;
    const chunks: Buffer[] = [];
    for await (const chunk of this.#read(path, { maxBytes: MAX_FILE, ...rest })) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    return encoding === undefined ? bytes : bytes.toString(encoding);
  }

  /** A file's content, as fast as it is read. */
  createReadStream(path: string, options: GuestReadOptions = {}): Readable {
    return Readable.from(this.#read(path, options), { objectMode: false });
  }

  /** Makes or replaces a file. What has been written when it fails or is aborted stays. */
  async writeFile(
    path: string,
    data: string | Uint8Array | AsyncIterable<Uint8Array | string>,
    { mode = 0o644, signal }: GuestWriteOptions = {},
  ): Promise<void> {
    const what = `write ${path}`;
    const session = await this.open(signal);
    try {
      expectDone(await session.request(what, REQUEST.WRITE, u32(mode), text(path)));
      let refused: { readonly why: unknown } | undefined;
      const finished = new Promise<void>((resolve) => {
        session.handle({
          frame: (frame) => {
            if (frame.type === ANSWER.ERROR) refused = { why: callError(what, frame) };
            resolve();
          },
          lost: (why) => {
            refused = { why };
            resolve();
          },
        });
      });
      const chunks = typeof data === 'string' || data instanceof Uint8Array ? [data] : data;
      for await (const chunk of untilAborted(chunks, signal)) {
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
        for (let at = 0; at < bytes.length && !refused; at += MAX_PAYLOAD) {
          if (!session.send(DATA, bytes.subarray(at, at + MAX_PAYLOAD))) await session.drained();
        }
        if (refused) break;
      }
      if (!refused) session.send(REQUEST.DATA_END);
      await finished;
      if (refused) throw refused.why;
    } finally {
      session.close();
    }
  }

  /** What a path leads to; of a link itself with `follow: false`. */
  async stat(path: string, { follow = true }: { readonly follow?: boolean } = {}): Promise<GuestStat> {
    const frame = await this.#ask(`stat ${path}`, REQUEST.STAT, u8(follow ? 1 : 0), text(path));
    if (frame.type !== ANSWER.STATUS || frame.payload.length < STATUS_SIZE) throw garbage('a file status');
    return statOf(frame.payload);
  }

  /** The names in a folder, in no order. */
  async readdir(path: string): Promise<string[]> {
    const session = await this.open();
    try {
      const names: string[] = [];
      let length = 0;
      await new Promise<void>((resolve, reject) => {
        session.handle({
          frame: (frame) => {
            length += frame.payload.length;
            if (length > MAX_NAMES) reject(new VmmError('ERR_AGENT', `${path} has no end of names`));
            else if (frame.type === ANSWER.NAMES) names.push(...namesIn(frame.payload));
            else if (frame.type === ANSWER.DONE) resolve();
            else reject(frame.type === ANSWER.ERROR ? callError(`list ${path}`, frame) : garbage('a folder'));
          },
          lost: reject,
        });
        session.send(REQUEST.LIST, text(path));
      });
      return names;
    } finally {
      session.close();
    }
  }

  /** Makes a folder; with `recursive` also those above it, and none is needed. */
  async mkdir(
    path: string,
    { recursive = false, mode = 0o755 }: { readonly recursive?: boolean; readonly mode?: number } = {},
  ): Promise<void> {
    const make = async (at: string): Promise<void> => {
      expectDone(await this.#ask(`mkdir ${at}`, REQUEST.MKDIR, u32(mode), text(at)));
    };
    if (!recursive) return make(path);
    for (const [index, name] of path.split('/').entries()) {
      if (name === '') continue;
      const at = path
        .split('/')
        .slice(0, index + 1)
        .join('/');
      await make(at).catch((error: unknown) => {
        if (!(error instanceof GuestCallError) || error.errnoName !== 'EEXIST') throw error;
      });
    }
  }

  /** Removes a file or an empty folder; with `recursive` everything in it; with `force` it need not be there. */
  async rm(
    path: string,
    { recursive = false, force = false }: { readonly recursive?: boolean; readonly force?: boolean } = {},
  ): Promise<void> {
    try {
      if (recursive && (await this.stat(path, { follow: false })).type === 'directory') {
        for (const name of await this.readdir(path)) await this.rm(`${path}/${name}`, { recursive, force });
      }
      expectDone(await this.#ask(`remove ${path}`, REQUEST.REMOVE, text(path)));
    } catch (error) {
      if (!force || !(error instanceof GuestCallError) || error.errnoName !== 'ENOENT') throw error;
    }
  }

  /** Gives a file or folder another name. */
  async rename(from: string, to: string): Promise<void> {
    expectDone(await this.#ask(`rename ${from} to ${to}`, REQUEST.RENAME, text(from), text(to)));
  }

  /**
   * Copies what is in a folder of this host into one of the guest, which is made unless it is there. Modes and times go along, and links as
   * they are; everything becomes root's. The guest needs a `tar`.
   * @throws GuestCallError; VmmError ERR_EXEC with what tar says; ConfigError for what is no folder; the errors of node:fs
   */
  async upload(from: string, to: string, options: FolderOptions = {}): Promise<FolderCopy> {
    await this.mkdir(to, { recursive: true });
    const { uploadFolder } = await import('./guest-folders.js');
    return uploadFolder(this.start, from, to, options);
  }

  /**
   * Copies what is in a folder of the guest into one of this host, which is made unless it is there. Nothing is written outside it, whatever
   * the guest says; links are made as they are and never followed, set-id bits and owners are left out.
   * @throws as `upload`; VmmError ERR_AGENT for an archive that cannot be believed, or larger than `maxBytes`
   */
  async download(from: string, to: string, options: DownloadOptions = {}): Promise<FolderCopy> {
    const { downloadFolder } = await import('./guest-folders.js');
    return downloadFolder(this.start, from, to, options);
  }

  async *#read(path: string, { signal, maxBytes }: GuestReadOptions): AsyncGenerator<Buffer> {
    let left = maxBytes ?? Number.POSITIVE_INFINITY;
    const session = await this.open(signal);
    try {
      const arrived: Frame[] = [];
      let wake: (() => void) | undefined;
      let lost: { readonly why: unknown } | undefined;
      session.handle({
        frame: (frame) => {
          arrived.push(frame);
          session.pause();
          wake?.();
        },
        lost: (why) => {
          lost = { why };
          wake?.();
        },
      });
      session.send(REQUEST.READ, text(path));
      for (;;) {
        const frame = arrived.shift();
        if (!frame) {
          if (lost) throw lost.why;
          session.resume();
          await new Promise<void>((resolve) => {
            wake = resolve;
            if (arrived.length > 0 || lost) resolve();
          });
        } else if (frame.type === DATA) {
          left -= frame.payload.length;
          if (left < 0) throw new VmmError('ERR_AGENT', `${path} has more than ${maxBytes} bytes`);
          yield frame.payload;
        } else if (frame.type === ANSWER.DONE) return;
        else throw frame.type === ANSWER.ERROR ? callError(`read ${path}`, frame) : garbage('a file');
      }
    } finally {
      session.close();
    }
  }

  async #ask(what: string, type: number, ...parts: readonly Uint8Array[]): Promise<Frame> {
    const session = await this.open();
    try {
      return await session.request(what, type, ...parts);
    } finally {
      session.close();
    }
  }
}

function expectDone({ type }: Frame): void {
  if (type !== ANSWER.DONE) throw garbage(`message ${type}`);
}

/** A byte of type, a name, NUL; and again. */
function namesIn(bytes: Buffer): string[] {
  const names: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at + 1);
    if (end < 0) throw garbage('a folder');
    names.push(bytes.toString('utf8', at + 1, end));
    at = end + 1;
  }
  return names;
}

function statOf(bytes: Buffer): GuestStat {
  const [mode, uid, gid, nlink] = [0, 4, 8, 12].map((at) => bytes.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  const wide = (at: number): bigint => bytes.readBigUInt64LE(at);
  const ms = (at: number): number => Number(wide(at)) / 1e6;
  return {
    type: TYPES.get(mode & S_IFMT) ?? 'unknown',
    mode: mode & 0o7777,
    ...{ uid, gid, nlink, size: Number(wide(16)), ino: Number(wide(24)) },
    ...{ mtimeMs: ms(32), atimeMs: ms(40), ctimeMs: ms(48) },
  };
}
