/** What each signal does to the command, with signals that nobody sends. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Interrupts } from '../../../src/cli/signals.js';

class Exit extends Error {
  constructor(readonly code: unknown) {
    super(`exit ${code}`);
  }
}

let interrupts: Interrupts;
beforeEach(() => {
  interrupts = new Interrupts();
  vi.spyOn(process, 'exit').mockImplementation((code) => {
    throw new Exit(code);
  });
});
afterEach(() => {
  interrupts[Symbol.dispose]();
  vi.restoreAllMocks();
});
const send = (signal: NodeJS.Signals): boolean => process.emit(signal, signal);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a signal', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s ends at once while nobody can be asked', (signal) => {
    send(signal);
    expect([interrupts.received, interrupts.signal.aborted]).toEqual([signal, true]);
  });

  it.each(['SIGINT', 'SIGHUP'] as const)('%s never asks', (signal) => {
    const ask = vi.fn(async () => {});
    interrupts.askFirst(ask);
    send(signal);
    expect([ask.mock.calls.length, interrupts.signal.aborted]).toEqual([0, true]);
  });

  it.each([
    ['good', () => Promise.resolve()],
    ['bad', () => Promise.reject(new Error('no'))],
  ])('SIGTERM asks, and ends when the answer is there, be it %s', async (_, answer) => {
    let give = (): void => {};
    const given = new Promise<void>((resolve) => {
      give = resolve;
    });
    interrupts.askFirst(() => given.then(answer));
    send('SIGTERM');
    await turn();
    expect([interrupts.received, interrupts.signal.aborted]).toEqual(['SIGTERM', false]);
    give();
    await turn();
    expect(interrupts.signal.aborted).toBe(true);
  });

  it('a second one ends the command with its own code', () => {
    interrupts.askFirst(() => new Promise(() => {}));
    send('SIGTERM');
    expect(() => send('SIGINT')).toThrow('exit 130');
  });
});
