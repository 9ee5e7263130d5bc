/** The rings: order, indices modulo 2^16, notifications both ways, and the bounds that a hostile driver meets. */
import { describe, expect, it } from 'vitest';
import type { Chain } from '../../../src/virtio/queue.js';
import { type BareQueue, bareQueue } from '../../support/bare-queue.js';

const byte = Uint8Array.of(1);
const WRAP = 65536;

/** Serves whatever is there, without writing. */
const serve = ({ queue }: BareQueue): { interrupt: boolean; more: boolean } => queue.drain(() => 0);

describe('drain', () => {
  it('serves available chains in order and gives each back with what was written', () => {
    const both = bareQueue();
    const posted = [both.driver.add([4]), both.driver.add([4]), both.driver.add([4])];
    let count = 0;
    const result = both.queue.drain(({ writable }) => {
      writable[0]!.fill(++count);
      return count;
    });
    expect(result).toEqual({ interrupt: true, more: false });
    const used = both.driver.collect();
    expect(used.map(({ head, length }) => [head, length])).toEqual(
      posted.map(({ head }, index) => [head, index + 1]),
    );
    expect(used.map(({ posted }) => posted!.written()[0])).toEqual([1, 2, 3]);
  });

  it('does nothing when nothing is there', () => {
    const both = bareQueue();
    expect(serve(both)).toEqual({ interrupt: false, more: false });
    expect(both.driver.collect()).toEqual([]);
  });

  it('stops after one ring of chains even when the driver posts for ever', () => {
    const both = bareQueue({ size: 4 });
    let served = 0;
    both.driver.add([byte]);
    const { more } = both.queue.drain(() => {
      served += 1;
      both.driver.offer(0);
      return 0;
    });
    expect([served, more]).toEqual([4, true]);
  });

  it('serves what slipped in while the doorbell was being armed', () => {
    const both = bareQueue({ eventIdx: true });
    both.driver.add([byte]);
    const seen: number[] = [];
    both.queue.drain(({ head }) => {
      if (seen.push(head) === 1) both.driver.add([byte]);
      return 0;
    });
    expect(seen).toHaveLength(2);
  });

  it('lets a fault out before anything is published', () => {
    const both = bareQueue();
    both.driver.add([byte]);
    both.driver.offer(99);
    expect(() => serve(both)).toThrow('§2.7.5');
    expect(both.driver.usedIdx).toBe(0);
  });
});

describe('each', () => {
  it('hands chains out and says when its bound was reached', () => {
    const { driver, queue } = bareQueue({ size: 4 });
    const chains: Chain[] = [];
    for (let index = 0; index < 3; index += 1) driver.add([byte]);
    expect(queue.each((chain) => void chains.push(chain))).toBe(false);
    driver.add([byte]);
    expect(queue.each((chain) => void chains.push(chain))).toBe(false);
    expect(chains).toHaveLength(4);
    for (const chain of chains) queue.push(chain, 0);
    expect(queue.publish()).toBe(true);
    expect(driver.collect()).toHaveLength(4);
  });

  it('says so when a whole ring was handed out at once', () => {
    const { driver, queue } = bareQueue({ size: 4 });
    for (let index = 0; index < 4; index += 1) driver.add([byte]);
    expect(queue.each(() => {})).toBe(true);
  });
});

describe('push and publish', () => {
  it('show the driver nothing before publish', () => {
    const { driver, queue } = bareQueue();
    driver.add([byte]);
    queue.push(queue.pop()!, 0);
    expect(driver.collect()).toEqual([]);
    expect(queue.publish()).toBe(true);
    expect(driver.collect()).toHaveLength(1);
  });

  it('give chains back in any order', () => {
    const { driver, queue } = bareQueue();
    const posted = [driver.add([1]), driver.add([1]), driver.add([1])];
    const [first, second, third] = [queue.pop()!, queue.pop()!, queue.pop()!];
    for (const chain of [third, first, second]) queue.push(chain, 0);
    queue.publish();
    expect(driver.collect().map(({ head }) => head)).toEqual([2, 0, 1].map((index) => posted[index]!.head));
  });

  it('publish nothing twice', () => {
    const { driver, queue } = bareQueue();
    driver.add([byte]);
    queue.push(queue.pop()!, 0);
    expect([queue.publish(), queue.publish()]).toEqual([true, false]);
  });

  it('write lengths of 32 bits', () => {
    const { driver, queue } = bareQueue();
    driver.add([byte]);
    queue.push(queue.pop()!, 0xffff_fffe);
    queue.publish();
    expect(driver.collect()[0]!.length).toBe(0xffff_fffe);
  });
});

describe('a chain taken back', () => {
  it('is the next one again, as the driver has it then', () => {
    const { driver, queue } = bareQueue();
    const first = driver.add([byte]);
    const second = driver.add([byte]);
    expect(queue.pop()!.head).toBe(first.head);
    queue.unpop();
    expect(queue.pop()!.head).toBe(first.head);
    expect(queue.pop()!.head).toBe(second.head);
    expect(queue.pop()).toBeUndefined();
  });

  it('is read again: a driver that spoilt it meanwhile is found out', () => {
    const { driver, queue } = bareQueue();
    const { head } = driver.add([byte]);
    queue.pop();
    queue.unpop();
    driver.descriptor(head, { at: 0, length: 1 });
    expect(() => queue.pop()).toThrow('memory map');
  });

  it('does not count as in flight', () => {
    const { driver, queue } = bareQueue({ size: 2 });
    driver.add([byte]);
    for (let time = 0; time < 10; time += 1) {
      expect(queue.pop()).toBeDefined();
      queue.unpop();
    }
  });

  it('may be the first of a counter that wrapped', () => {
    const { driver, queue } = bareQueue({ state: { nextAvail: 65535, nextUsed: 65535 } });
    driver.availIdx = 65535;
    const posted = driver.add([byte]);
    queue.pop();
    queue.unpop();
    expect(queue.state().nextAvail).toBe(65535);
    expect(queue.pop()!.head).toBe(posted.head);
  });
});

describe('what a driver may not do with the rings', () => {
  it('have more chains in flight than the queue has entries', () => {
    const { driver, queue } = bareQueue({ size: 4 });
    driver.add([byte]);
    for (let index = 0; index < 3; index += 1) driver.offer(0);
    for (let index = 0; index < 4; index += 1) expect(queue.pop()).toBeDefined();
    driver.offer(0);
    expect(() => queue.pop()).toThrow('chains in flight');
  });

  it('run ahead by more than the queue has entries', () => {
    const { driver, queue } = bareQueue({ size: 4 });
    driver.add([byte]);
    driver.availIdx = 5;
    expect(() => queue.pop()).toThrow('§2.7.6');
    driver.availIdx = 4;
    expect(queue.pop()).toBeDefined();
  });

  it('take back what it made available', () => {
    const { driver, queue } = bareQueue({ size: 4 });
    driver.add([byte]);
    driver.add([byte]);
    queue.pop();
    queue.pop();
    driver.availIdx = 1;
    expect(() => queue.pop()).toThrow('§2.7.6');
    expect(() => queue.rearm()).toThrow('§2.7.6');
  });
});

describe('a queue that was stopped', () => {
  it('gives no chain out, not even one that it had seen', () => {
    const { driver, queue } = bareQueue();
    driver.add([byte]);
    driver.add([byte]);
    expect(queue.pop()).toBeDefined();
    queue.stop();
    expect(queue.pop()).toBeUndefined();
    expect(queue.each(() => expect.unreachable())).toBe(false);
  });

  it('gives none out that was taken back', () => {
    const { driver, queue } = bareQueue();
    driver.add([byte]);
    queue.pop();
    queue.stop();
    queue.unpop();
    expect(queue.pop()).toBeUndefined();
  });

  it('writes nothing to the rings', () => {
    const { driver, ram, queue } = bareQueue({ eventIdx: true });
    driver.add([byte]);
    driver.add([byte]);
    const chains = [queue.pop()!, queue.pop()!];
    queue.push(chains[0]!, 0);
    queue.stop();
    const before = ram.bytes.slice();
    queue.push(chains[1]!, 0);
    expect([queue.publish(), queue.rearm()]).toEqual([false, false]);
    expect(Buffer.compare(ram.bytes, before)).toBe(0);
  });
});

describe('state', () => {
  it('is where a second queue goes on', () => {
    const { driver, ram, queue } = bareQueue();
    for (let index = 0; index < 3; index += 1) driver.add([byte]);
    queue.drain(() => 0);
    driver.collect();
    expect(queue.state()).toEqual({ nextAvail: 3, nextUsed: 3 });
    const posted = driver.add([2]);
    const Queue = queue.constructor as typeof import('../../../src/virtio/queue.js').Queue;
    const second = new Queue(queue.layout, ram.memory, { indirect: true, eventIdx: false }, queue.state());
    expect(second.drain(({ writable }) => writable[0]!.fill(9).length)).toEqual({
      interrupt: true,
      more: false,
    });
    expect(driver.collect()).toMatchObject([{ head: posted.head, length: 2 }]);
  });
});

describe('indices', () => {
  it.each([{ eventIdx: false }, { eventIdx: true }])(
    'wrap at 2^16 twice without losing a chain, a kick or an interrupt ($eventIdx)',
    ({ eventIdx }) => {
      const both = bareQueue({ size: 8, eventIdx });
      const { driver, ram, queue } = both;
      queue.rearm();
      const at = ram.alloc(1);
      let expected = 0;
      for (let round = 0; expected < 2 * WRAP + 100; round += 1) {
        const count = 1 + (round % 8);
        for (let index = 0; index < count; index += 1) driver.add([{ at, length: 1 }]);
        driver.usedEvent = queue.state().nextUsed;
        if (!driver.kick()) expect.unreachable(`no kick in round ${round}`);
        let interrupts = 0;
        for (let more = true; more; ) {
          const served = serve(both);
          if (served.interrupt) interrupts += 1;
          more = served.more;
        }
        const used = driver.collect().length;
        if (interrupts !== 1 || used !== count)
          expect.unreachable(`${interrupts} interrupts, ${used} of ${count} in round ${round}`);
        expected += count;
      }
      expect(queue.state()).toEqual({ nextAvail: expected % WRAP, nextUsed: expected % WRAP });
      expect(driver.free).toBe(8);
    },
    20_000,
  );
});

describe('interrupts without EVENT_IDX (§2.7.7.2)', () => {
  it.each([
    { flags: 0, interrupt: true },
    { flags: 1, interrupt: false },
  ])('flags $flags', ({ flags, interrupt }) => {
    const both = bareQueue();
    both.driver.availFlags = flags;
    both.driver.usedEvent = 1234;
    both.driver.add([byte]);
    expect(serve(both).interrupt).toBe(interrupt);
  });
});

describe('interrupts with EVENT_IDX (§2.7.7.2)', () => {
  // `batch` entries are used at once, from used.idx `from` on.
  it.each([
    { from: 0, batch: 1, event: 0, interrupt: true, why: 'the entry it asked for' },
    { from: 0, batch: 1, event: 1, interrupt: false, why: 'the entry before it' },
    { from: 0, batch: 4, event: 3, interrupt: true, why: 'the last of the batch' },
    { from: 0, batch: 4, event: 4, interrupt: false, why: 'one behind the batch' },
    { from: 5, batch: 4, event: 5, interrupt: true, why: 'the first of the batch' },
    { from: 5, batch: 4, event: 4, interrupt: false, why: 'one before the batch: it has been and gone' },
    { from: 5, batch: 1, event: 0xffff, interrupt: false, why: 'far behind' },
    { from: 65534, batch: 4, event: 65535, interrupt: true, why: 'before the wrap, in a batch across it' },
    { from: 65534, batch: 4, event: 0, interrupt: true, why: 'after the wrap, in a batch across it' },
    { from: 65534, batch: 4, event: 1, interrupt: true, why: 'last of a batch across the wrap' },
    { from: 65534, batch: 4, event: 2, interrupt: false, why: 'behind a batch across the wrap' },
    { from: 65534, batch: 4, event: 65533, interrupt: false, why: 'before a batch across the wrap' },
    { from: 65535, batch: 1, event: 65535, interrupt: true, why: 'the entry at the wrap' },
    { from: 65535, batch: 1, event: 0, interrupt: false, why: 'the entry after the wrap' },
  ])('used.idx $from + $batch, used_event $event: $interrupt ($why)', ({ from, batch, event, interrupt }) => {
    const both = bareQueue({ size: 8, eventIdx: true, state: { nextAvail: from, nextUsed: from } });
    both.driver.availIdx = from;
    both.driver.usedEvent = event;
    both.driver.availFlags = 1; // must be ignored
    for (let index = 0; index < batch; index += 1) both.driver.add([byte]);
    expect(serve(both).interrupt).toBe(interrupt);
  });
});

describe('kicks (§2.7.10.2)', () => {
  it('are asked for at the next chain with EVENT_IDX, and flags stay 0', () => {
    const both = bareQueue({ eventIdx: true });
    both.queue.rearm();
    expect(both.driver.availEvent).toBe(0);
    for (let index = 0; index < 3; index += 1) both.driver.add([byte]);
    serve(both);
    expect([both.driver.availEvent, both.driver.usedFlags]).toEqual([3, 0]);
  });

  it('are asked for always without EVENT_IDX: avail_event is not touched', () => {
    const both = bareQueue();
    both.driver.add([byte]);
    serve(both);
    expect([both.driver.availEvent, both.driver.usedFlags]).toEqual([0, 0]);
  });

  it('are asked for at the next chain to be taken, even if the device has seen more', () => {
    const { driver, queue } = bareQueue({ eventIdx: true });
    for (let index = 0; index < 3; index += 1) driver.add([byte]);
    queue.pop();
    expect(queue.rearm()).toBe(true);
    expect(driver.availEvent).toBe(1);
  });

  it('are not asked for while the device knows of chains: it comes back by itself', () => {
    const both = bareQueue({ size: 4, eventIdx: true });
    for (let index = 0; index < 4; index += 1) both.driver.add([byte]);
    expect(serve(both).more).toBe(true);
    expect(both.driver.availEvent).toBe(0);
  });
});
