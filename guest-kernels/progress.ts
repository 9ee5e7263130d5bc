/**
 * Progress of long work, on standard error. A terminal gets one line that is redrawn in place; anything else (a log, a
 * pipe) gets plain lines: one when a step starts, one every ten seconds while it runs, one when it ends.
 * The rule: nothing else may write to the same terminal while a step is running, except through `note`.
 * Runs on: main.
 */
import type { Writable } from 'node:stream';

const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';
/** Time between redraws of a terminal's line, ms. */
const REDRAW_MS = 120;
/** Time between lines of one step in a log, ms. */
const REPEAT_MS = 10_000;

/** Where progress goes; process.stderr unless a test says otherwise. */
export type ProgressStream = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** One piece of work in progress. */
export interface Step {
  /** @param fraction done, 0 to 1; undefined if unknown  @param detail a few words, e.g. a file name */
  update(fraction: number | undefined, detail?: string): void;
}

export class Progress {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  #drawn = false;

  constructor(stream: ProgressStream = process.stderr, now: () => number = Date.now) {
    this.#stream = stream;
    this.#now = now;
  }

  /** Progress that is shown nowhere. */
  static readonly silent = {
    step: <T>(_title: string, work: (step: Step) => Promise<T>): Promise<T> => work({ update: () => {} }),
    note: (_line: string): void => {},
  };

  /** Runs `work` and shows `title` until it settles. Returns, or throws, what `work` does. */
  async step<T>(title: string, work: (step: Step) => Promise<T>): Promise<T> {
    const started = this.#now();
    let fraction: number | undefined;
    let detail = '';
    let frame = 0;
    const line = (): string => {
      const percent = fraction === undefined ? '' : ` ${Math.floor(fraction * 100)} %`;
      return `${title}${percent}${detail && ` ${detail}`} (${seconds(this.#now() - started)})`;
    };
    const tty = this.#stream.isTTY === true;
    if (!tty) this.#print(`${title}…`);
    const timer = setInterval(
      () => {
        if (!tty) this.#print(line());
        else this.#draw(`${FRAMES[frame++ % FRAMES.length]} ${line()}`);
      },
      tty ? REDRAW_MS : REPEAT_MS,
    );
    timer.unref();
    try {
      const result = await work({
        update(nextFraction, nextDetail = '') {
          fraction = nextFraction === undefined ? undefined : Math.min(1, Math.max(0, nextFraction));
          detail = nextDetail;
        },
      });
      this.#clear();
      this.#print(`${tty ? '✓ ' : ''}${title}: done (${seconds(this.#now() - started)})`);
      return result;
    } catch (error) {
      this.#clear();
      this.#print(`${tty ? '✗ ' : ''}${title}: failed (${seconds(this.#now() - started)})`);
      throw error;
    } finally {
      clearInterval(timer);
    }
  }

  /** Prints one line; a running step's line moves below it. */
  note(line: string): void {
    this.#clear();
    this.#print(line);
  }

  #print(line: string): void {
    this.#stream.write(`${line}\n`);
  }

  #draw(line: string): void {
    const width = Math.max(20, this.#stream.columns || 80) - 1; // 0: a terminal that does not know its size
    this.#stream.write(`\r\x1b[K${line.length > width ? `${line.slice(0, width - 1)}…` : line}`);
    this.#drawn = true;
  }

  #clear(): void {
    if (this.#drawn) this.#stream.write('\r\x1b[K');
    this.#drawn = false;
  }
}

/** What recipes ask of a Progress; `Progress.silent` fits too. */
export type ProgressReporter = Pick<Progress, 'step' | 'note'>;

/** `1.4 s`, `2 min 05 s`. */
export function seconds(ms: number): string {
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  const whole = Math.round(ms / 1000);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}
