/** What a policy's function says, if it says it in time. Runs on: main. */
import { Duplex } from 'node:stream';
import type { Clock } from './clock.js';

/**
 * The answer of `ask`, or its failure, or an Error after `limitMs`. A stream that comes too late is closed: nobody else would.
 */
export function withLimit<T>(clock: Clock, limitMs: number, ask: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    let late = false;
    const cancel = clock.after(limitMs, () => {
      late = true;
      reject(new Error(`no answer within ${limitMs / 1000} s`));
    });
    ask()
      .then((answer) => {
        if (late && answer instanceof Duplex) answer.destroy();
        resolve(answer);
      }, reject)
      .finally(cancel);
  });
}
