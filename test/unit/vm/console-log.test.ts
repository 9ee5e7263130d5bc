import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ConsoleLog } from '../../../src/vm/console-log.js';

const say = (log: ConsoleLog, text: string): void => log.append(Buffer.from(text));

describe('waiting for text on the console', () => {
  it('ends at once when it is there already', async () => {
    const log = new ConsoleLog();
    say(log, 'boot\nlogin: ');
    expect(await log.waitFor('login: ')).toBe('boot\nlogin: ');
  });

  it('ends when it comes, in however many pieces', async () => {
    const log = new ConsoleLog();
    const found = log.waitFor('login: ');
    for (const char of 'boot\nlogin: and more') say(log, char);
    expect(await found).toBe('boot\nlogin: ');
  });

  it('looks only at what earlier waits have not consumed', async () => {
    const log = new ConsoleLog();
    say(log, '# a\n# b\n# ');
    expect(await log.waitFor('# ')).toBe('# ');
    expect(await log.waitFor('# ')).toBe('a\n# ');
    expect(await log.waitFor(/.\n# /)).toBe('b\n# ');
    let third = false;
    void log.waitFor('# ').then(() => void (third = true));
    await Promise.resolve();
    expect(third).toBe(false);
  });

  it('takes patterns, whatever their flags', async () => {
    const log = new ConsoleLog();
    say(log, 'pid 17\npid 18\n');
    expect(await log.waitFor(/pid (\d+)/g)).toBe('pid 17');
    expect(await log.waitFor(/PID \d+$/imy)).toBe('\npid 18');
  });

  it('serves those who wait in the order they came, each with its own part', async () => {
    const log = new ConsoleLog();
    const both = Promise.all([log.waitFor('one'), log.waitFor('two')]);
    say(log, 'two one two');
    expect(await both).toEqual(['two one', ' two']);
  });

  it('reads characters that arrive in halves', async () => {
    const log = new ConsoleLog();
    const found = log.waitFor('ö!');
    for (const byte of Buffer.from('schön ö!')) log.append(Uint8Array.of(byte));
    expect(await found).toBe('schön ö!');
  });

  it('costs one look a turn of the event loop, however many pieces come in it', async () => {
    const log = new ConsoleLog();
    say(log, 'x'.repeat(200_000));
    const pattern = /y/;
    let looks = 0;
    Object.defineProperty(pattern, 'source', {
      get: () => {
        looks += 1;
        return 'y';
      },
    });
    const found = log.waitFor(pattern);
    for (let i = 0; i < 1000; i += 1) say(log, '.');
    expect(looks).toBe(1);
    await turn();
    expect(looks).toBe(2);
    say(log, 'y');
    expect((await found).length).toBe(201_001);
  });
});

describe('a wait that does not end well', () => {
  it('ends after its time, with the end of the console as a hint', async () => {
    const log = new ConsoleLog();
    say(log, 'something else\n');
    await expect(log.waitFor('login', { timeout: 5 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
      message: 'no login on the console in 5 ms',
      hint: 'the console ends with:\nsomething else',
    });
  });

  it('leaves what it looked at to others', async () => {
    const log = new ConsoleLog();
    say(log, 'prompt# ');
    await expect(log.waitFor('login', { timeout: 1 })).rejects.toThrow();
    expect(await log.waitFor('# ')).toBe('prompt# ');
  });

  it('does not keep those behind it waiting', async () => {
    const log = new ConsoleLog();
    const first = log.waitFor('never', { timeout: 5 });
    const second = log.waitFor('now');
    say(log, 'now');
    await expect(first).rejects.toThrow();
    expect(await second).toBe('now');
  });

  it('ends when its signal is aborted, before or later, with the signal’s reason', async () => {
    const log = new ConsoleLog();
    const reason = new Error('enough');
    await expect(log.waitFor('x', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const waiting = log.waitFor('x', { signal: controller.signal, timeout: 10_000 });
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });

  it('has nothing to do with a signal that is aborted after it ended', async () => {
    const log = new ConsoleLog();
    const controller = new AbortController();
    const found = log.waitFor('x', { signal: controller.signal });
    say(log, 'x');
    controller.abort();
    expect(await found).toBe('x');
  });

  it('ends when the guest does, and says why', async () => {
    const log = new ConsoleLog();
    say(log, 'last words');
    const waiting = [log.waitFor('x', { timeout: 10_000 }), log.waitFor(/y/)];
    log.end('the VM ended: the guest powered off');
    for (const one of waiting) {
      await expect(one).rejects.toMatchObject({
        code: 'ERR_GUEST_EXIT',
        message: 'the VM ended: the guest powered off',
        hint: 'the console ends with:\nlast words',
      });
    }
  });

  it('still finds after the end what was said before it', async () => {
    const log = new ConsoleLog();
    say(log, 'one two');
    log.end('over');
    expect(await log.waitFor('one')).toBe('one');
    await expect(log.waitFor('one')).rejects.toMatchObject({ code: 'ERR_GUEST_EXIT' });
    expect(await log.waitFor('two')).toBe(' two');
  });
});

describe('the memory of the console', () => {
  it('is bounded: the oldest goes', async () => {
    const log = new ConsoleLog();
    say(log, 'FIRST ');
    const line = `${'x'.repeat(1023)}\n`;
    for (let i = 0; i < 2000; i += 1) say(log, line); // 2 MiB
    say(log, 'LAST');
    const all = await log.waitFor('LAST');
    expect(all.length).toBeLessThanOrEqual(512 * 1024 + 1030);
    expect(all.length).toBeGreaterThanOrEqual(256 * 1024);
    expect(all).not.toContain('FIRST');
  });

  it('keeps its place when the oldest goes', async () => {
    const log = new ConsoleLog();
    say(log, 'start ');
    await log.waitFor('start ');
    say(log, 'y'.repeat(600 * 1024));
    say(log, ' mark');
    const text = await log.waitFor(' mark');
    expect(text).not.toContain('start');
    expect(text.endsWith('yyy mark')).toBe(true);
    expect(text.length).toBe(256 * 1024 + 5);
  });

  it('shows its last lines', () => {
    const log = new ConsoleLog();
    expect(log.tail(3)).toBe('');
    say(log, 'one\ntwo\nthree\nfour\n\n');
    expect(log.tail(2)).toBe('three\nfour');
    expect(log.tail(10)).toBe('one\ntwo\nthree\nfour');
  });

  it('looks for words near its end only', () => {
    const log = new ConsoleLog();
    say(log, 'panic');
    expect(log.endsLike(/panic/)).not.toBeNull();
    say(log, '.'.repeat(4096));
    expect(log.endsLike(/panic/)).toBeNull();
    expect(log.endsLike(/panic/, 5000)).not.toBeNull();
  });
});
