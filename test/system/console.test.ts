/** The serial console under a real driver: nothing lost, nothing doubled, in either direction. */
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest } from '../support/guest-test.js';

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

/** Printable, without a period that a repeated or dropped block would fit into. */
function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0, state = 1; at < length; at += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = 33 + ((state >>> 16) % 94);
  }
  return bytes;
}

/** A byte is an exit or two, and those are slow in the rig. */
const LINES = guestName === 'stock' ? 16_000 : 32_000;

guestTest('100 KB and more of output arrive as they were written', {
  guest: `
    stty -opost # no carriage returns
    seq 1 ${LINES} > /tmp/lines
    sha256sum < /tmp/lines
    echo begin
    cat /tmp/lines
    echo end
    stty opost`,
  after({ console }) {
    const [, hash, lines = ''] = /([0-9a-f]{64}) .*\nbegin\n([\s\S]*)end\n/.exec(console) ?? [];
    expect(lines).toHaveLength(Array.from({ length: LINES }, (_, index) => `${index + 1}\n`).join('').length);
    expect(sha256(lines)).toBe(hash);
  },
});

const INPUT = pattern(guestName === 'stock' ? 10_000 : 20_000);

guestTest('kilobytes of input arrive as they were sent, at the speed at which the guest reads', {
  guest: `
    stty raw -echo
    echo ready
    sleep 1 # the host must wait for a reader that is late
    head -c ${INPUT.length} > /tmp/input
    stty sane
    is length "$(wc -c < /tmp/input)" ${INPUT.length}
    is hash "$(sha256sum < /tmp/input | cut -d ' ' -f 1)" ${sha256(INPUT)}`,
  async host(vm) {
    await vm.waitFor('ready', { timeout: GUEST_LIMIT });
    await new Promise<void>((resolve, reject) =>
      vm.serial.write(INPUT, (error) => (error ? reject(error) : resolve())),
    );
  },
});

guestTest('a line typed before the guest listens is kept for it', {
  guest: 'read -r line; is line "$line" "typed early"',
  async host(vm) {
    vm.serial.write('typed early\n');
  },
});
