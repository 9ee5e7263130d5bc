import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Progress, type ProgressStream, type Step, seconds } from '../../../guest-kernels/progress.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function stream(more: { isTTY?: boolean; columns?: number } = {}): ProgressStream & { text(): string } {
  let text = '';
  const writable = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  return Object.assign(writable, more, { text: () => text });
}

/** A step that ends when told. */
function step(progress: Progress, title: string) {
  let current!: Step;
  let resolve!: (value: string) => void;
  let reject!: (error: Error) => void;
  const done = progress.step(
    title,
    (given) =>
      new Promise<string>((yes, no) => {
        [current, resolve, reject] = [given, yes, no];
      }),
  );
  return { done, update: current.update, resolve, reject };
}

describe('progress in a pipe or a log', () => {
  it('is a line at the start, one every ten seconds, and one at the end; the result comes through', async () => {
    const out = stream();
    const work = step(new Progress(out), 'building linux');
    vi.advanceTimersByTime(9_999);
    expect(out.text()).toBe('building linux…\n');
    work.update(0.25, 'kernel/fork.o');
    vi.advanceTimersByTime(10_001);
    work.resolve('a kernel');
    await expect(work.done).resolves.toBe('a kernel');
    expect(out.text().split('\n')).toEqual([
      'building linux…',
      'building linux 25 % kernel/fork.o (10 s)',
      'building linux 25 % kernel/fork.o (20 s)',
      'building linux: done (20 s)',
      '',
    ]);
  });

  it('ends with a word when the work fails, and hands the error on', async () => {
    const out = stream();
    const work = step(new Progress(out), 'building');
    work.reject(new Error('no luck'));
    await expect(work.done).rejects.toThrow('no luck');
    expect(out.text()).toBe('building…\nbuilding: failed (0.0 s)\n');
    vi.advanceTimersByTime(60_000);
    expect(out.text()).toBe('building…\nbuilding: failed (0.0 s)\n'); // and says no more
  });

  it('has no control characters', async () => {
    const out = stream();
    const progress = new Progress(out);
    const work = step(progress, 'x');
    progress.note('meanwhile');
    vi.advanceTimersByTime(30_000);
    work.resolve('');
    await work.done;
    expect(out.text().replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    expect(out.text()).toContain('meanwhile\n');
  });
});

describe('progress in a terminal', () => {
  const last = (text: string): string => text.split('\r\x1b[K').at(-1)!;

  it('is one line drawn over and over, and a tick at the end', async () => {
    const out = stream({ isTTY: true, columns: 60 });
    const work = step(new Progress(out), 'downloading');
    expect(out.text()).toBe('');
    vi.advanceTimersByTime(120);
    expect(last(out.text())).toBe('⠋ downloading (0.1 s)');
    work.update(0.5, 'of 27 MB');
    vi.advanceTimersByTime(120);
    expect(last(out.text())).toBe('⠙ downloading 50 % of 27 MB (0.2 s)');
    work.resolve('');
    await work.done;
    expect(last(out.text())).toBe('✓ downloading: done (0.2 s)\n');
    expect(out.text().match(/\n/g)).toHaveLength(1);
  });

  it.each([18, 19, 20, 21])('leaves the last column free with a title of %i letters', (length) => {
    const out = stream({ isTTY: true, columns: 30 });
    step(new Progress(out), 'x'.repeat(length));
    vi.advanceTimersByTime(120);
    expect(last(out.text()).length).toBe(Math.min(length + 10, 29));
  });

  it('never fills the line, which would make it two', () => {
    const out = stream({ isTTY: true, columns: 30 });
    const work = step(new Progress(out), 'downloading something');
    work.update(0.123, 'a/very/long/name/of/a/file.o');
    vi.advanceTimersByTime(120);
    expect(last(out.text())).toHaveLength(29);
    expect(last(out.text())).toMatch(/…$/);
  });

  it('gives way to a note and goes on below it', () => {
    const out = stream({ isTTY: true });
    const progress = new Progress(out);
    step(progress, 'building');
    vi.advanceTimersByTime(120);
    progress.note('waiting for pid 7');
    vi.advanceTimersByTime(120);
    expect(out.text()).toBe(
      '\r\x1b[K⠋ building (0.1 s)\r\x1b[Kwaiting for pid 7\n\r\x1b[K⠙ building (0.2 s)',
    );
  });

  it('keeps fractions between 0 and 100 %, and shows none that is unknown', () => {
    const out = stream({ isTTY: true });
    const work = step(new Progress(out), 'x');
    for (const [fraction, shown] of [
      [1.7, 'x 100 %'],
      [-1, 'x 0 %'],
      [0.999, 'x 99 %'],
      [undefined, 'x ('],
    ] as const) {
      work.update(fraction);
      vi.advanceTimersByTime(120);
      expect(last(out.text())).toContain(shown);
    }
  });
});

it('progress that is shown nowhere runs the work', async () => {
  const work = async ({ update }: Step): Promise<string> => {
    update(0.5);
    return 'result';
  };
  await expect(Progress.silent.step('x', work)).resolves.toBe('result');
});

it.each([
  [0, '0.0 s'],
  [1449, '1.4 s'],
  [9_949, '9.9 s'],
  [9_950, '10 s'],
  [59_499, '59 s'],
  [59_500, '1 min 00 s'],
  [125_000, '2 min 05 s'],
])('%i ms are written as %s', (ms, text) => {
  expect(seconds(ms)).toBe(text);
});
