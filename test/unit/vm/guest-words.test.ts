import { describe, expect, it } from 'vitest';
import { ConsoleLog } from '../../../src/vm/console-log.js';
import { guestSaid } from '../../../src/vm/guest-words.js';

function logOf(text: string): ConsoleLog {
  const log = new ConsoleLog();
  log.append(Buffer.from(text));
  return log;
}

describe('what a Linux guest says at its end', () => {
  it.each([
    ['halted', '[    3.1] reboot: System halted\r\n'],
    ['halted', 'reboot: Power down\r\n'],
    ['halted', 'reboot: Power off not available: System halted instead\r\n'],
    ['restarting', '[    3.1] reboot: Restarting system\r\n'],
    ['restarting', 'reboot: machine restart\r\n'],
  ] as const)('%s: %j', (what, text) => {
    const log = logOf(text);
    // Not empty: whoever asks may ask for truth only.
    expect(guestSaid(log, what)).toBe(/reboot: ([^:\r]*)/.exec(text)![1]);
    for (const other of ['panic', 'halted', 'restarting'] as const) {
      if (other !== what) expect(guestSaid(log, other)).toBeUndefined();
    }
  });

  it('that it panicked, and why', () => {
    const why = 'VFS: Unable to mount root fs on unknown-block(0,0)';
    const log = logOf(`[ 1.0] Kernel panic - not syncing: ${why}\r\n[ 1.1] CPU: 0 PID: 1\r\n`);
    expect(guestSaid(log, 'panic')).toBe(why);
  });

  it('is nothing when it says nothing, or said it long ago', () => {
    expect(guestSaid(logOf(''), 'panic')).toBeUndefined();
    expect(guestSaid(logOf('login: root\r\n# '), 'halted')).toBeUndefined();
    expect(guestSaid(logOf(`reboot: System halted\r\n${'x'.repeat(5000)}`), 'halted')).toBeUndefined();
  });
});
