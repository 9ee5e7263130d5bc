/**
 * The folder of one run: the sockets to the machine, the logs, and the scripts serve.sh runs. It is shared with the machine at
 * its own path. Its name holds the rig's process id and start time, so the next rig knows which folders have lost theirs.
 * Runs on: main.
 */
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Socket paths are limited to 107 bytes (unix(7)), so it is not $TMPDIR, which may be long. */
const PARENT = '/tmp';
const PREFIX = 'typevisor-rig';

export interface Work {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Folders that are read-write inside. */
  readonly rw: readonly string[];
  readonly input: boolean;
  readonly terminal: TerminalSize | undefined;
  /** Mounted at /lib/modules. */
  readonly modules: string;
}

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

export class RunFolder implements Disposable {
  readonly path: string;
  /** Shared read-write, in the order of their tags `rw0`, `rw1`…; the first is the run folder itself. */
  readonly shares: readonly string[];

  constructor(work: Work) {
    removeLeftovers();
    this.path = mkdtempSync(join(PARENT, `${PREFIX}-${process.pid}-${startTime(process.pid)}-`));
    this.shares = [this.path, ...new Set(work.rw.map((folder) => realpathSync(folder)))];
    this.#write('command.sh', [
      ...Object.entries(work.env).flatMap(([name, value]) => exported(name, value)),
      `cd ${quote(work.cwd)} || exit 126`,
      `exec ${work.command.map(quote).join(' ')}`,
    ]);
    this.#write('setup.sh', [
      'set -e',
      ...this.shares.map(
        (folder, index) => `mkdir -p ${quote(folder)}; mount -t virtiofs rw${index} ${quote(folder)}`,
      ),
      `mount --bind ${quote(work.modules)} /lib/modules`,
    ]);
    this.#write(
      'flush.sh',
      this.shares.slice(1).map((folder) => `sync -f ${quote(folder)}`),
    );
    if (work.input) this.#write('stdin', []);
    if (work.terminal) this.#write('tty', [`${work.terminal.rows} ${work.terminal.columns}`]);
  }

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  #write(name: string, lines: readonly string[]): void {
    writeFileSync(this.file(name), lines.map((line) => `${line}\n`).join(''));
  }
}

/** One word of a shell command. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

function exported(name: string, value: string | undefined): string[] {
  const usable = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name); // the shell has no other variables
  return usable && value !== undefined ? [`export ${name}=${quote(value)}`] : [];
}

function removeLeftovers(): void {
  for (const name of readdirSync(PARENT)) {
    const [, pid, started] = new RegExp(`^${PREFIX}-(\\d+)-(\\d+)-`).exec(name) ?? [];
    if (pid && startTime(Number(pid)) !== started)
      rmSync(join(PARENT, name), { recursive: true, force: true });
  }
}

/** When the process started, in clock ticks since the host's boot; undefined if there is none (proc(5), stat field 22). */
function startTime(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}
