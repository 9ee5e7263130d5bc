/**
 * Whole folders into the guest and out of it, as archives that the guest's own tar packs and unpacks.
 * Runs on: main.
 */
import { mkdir, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ConfigError, GuestCallError, VmmError } from '../base/errors.js';
import type { GuestProcess } from './guest-process.js';
import { type FolderCopy, noCopy, packFolder, unpackFolder } from './tar-folder.js';

/** Bytes of a download, unless said otherwise. */
const MAX_BYTES = 16 * 2 ** 30;
/** What may be there; small guests have busybox without the names of what is in it. */
const PROGRAMS = [['tar'], ['/bin/busybox', 'tar']];
/** Of what tar says. */
const KEPT = 4096;

/** How a folder is copied. */
export interface FolderOptions {
  /** Its abort ends the copy; what has been copied stays. */
  readonly signal?: AbortSignal;
}
/** How a folder is copied out of the guest. */
export interface DownloadOptions extends FolderOptions {
  /** Bytes of all files, for a guest that is not trusted; 16 GiB unless given. */
  readonly maxBytes?: number;
}

/** Starts a program in the guest. */
export type StartProgram = (argv: readonly string[], options: FolderOptions) => Promise<GuestProcess>;

/** @param to a folder of the guest, which is there */
export async function uploadFolder(
  start: StartProgram,
  from: string,
  to: string,
  { signal }: FolderOptions,
): Promise<FolderCopy> {
  if (!(await stat(from)).isDirectory())
    throw new ConfigError([{ path: 'upload', message: `${from} is no folder: fs.writeFile takes files` }]);
  await using tar = await Tar.start(start, ['-xpf', '-', '-C', to], signal);
  const counts = noCopy();
  tar.program.stdout.resume();
  await pipeline(Readable.from(packFolder(from, counts)), tar.program.stdin, signal ? { signal } : {}).catch(
    (error: unknown) => {
      signal?.throwIfAborted();
      throw error;
    },
  );
  await tar.ended();
  return counts;
}

/** @param to a folder of this host, which is made unless it is there */
export async function downloadFolder(
  start: StartProgram,
  from: string,
  to: string,
  { signal, maxBytes = MAX_BYTES }: DownloadOptions,
): Promise<FolderCopy> {
  await using tar = await Tar.start(start, ['-cf', '-', '-C', from, '.'], signal);
  tar.program.stdin.end();
  await mkdir(to, { recursive: true });
  let counts: FolderCopy;
  try {
    counts = await unpackFolder(tar.program.stdout, to, maxBytes);
  } catch (error) {
    signal?.throwIfAborted();
    // An archive that ends too early is one whose tar failed, if it did.
    if (tar.program.stdout.readableEnded) await tar.ended();
    throw error;
  }
  tar.program.stdout.resume(); // the zeros behind the end
  await tar.ended();
  return counts;
}

class Tar implements AsyncDisposable {
  #said = '';

  private constructor(
    readonly program: GuestProcess,
    private readonly signal: AbortSignal | undefined,
  ) {
    program.stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(0, KEPT);
    });
  }

  static async start(start: StartProgram, words: readonly string[], signal?: AbortSignal): Promise<Tar> {
    for (const tar of PROGRAMS) {
      const program = await start([...tar, ...words], signal ? { signal } : {});
      try {
        await program.pid;
        return new Tar(program, signal);
      } catch (error) {
        if (!(error instanceof GuestCallError) || error.errnoName !== 'ENOENT') throw error;
      }
    }
    throw new VmmError('ERR_EXEC', 'the guest has no tar, which copies folders', {
      hint: 'install tar or busybox there, or use fs.writeFile and fs.readFile',
    });
  }

  /** @throws VmmError ERR_EXEC with what it said, the signal's reason */
  async ended(): Promise<void> {
    const { exitCode, signal } = await this.program.exited;
    this.signal?.throwIfAborted();
    if (exitCode === 0) return;
    const how = signal ? `was ended by ${signal}` : `ended with code ${exitCode}`;
    throw new VmmError('ERR_EXEC', `the guest's tar ${how}`, { hint: this.#said.trim() || undefined });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}
