/** What virtio 1.2 requires of a device at split virtqueues (§2.7), through each device. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { EVENT_IDX, REG, USED_BUFFER } from '../support/fake-driver.js';
import type { FakeQueue, Piece } from '../support/fake-queue.js';
import { plug } from '../support/plug.js';
import { DEVICES } from '../support/virtio-devices.js';

afterEach(() => {
  vi.restoreAllMocks();
});

const total = (pieces: readonly Piece[]): number =>
  pieces.reduce<number>(
    (sum, piece) => sum + (typeof piece === 'number' ? piece : 'length' in piece ? piece.length : 0),
    0,
  );

/** The same bytes, each in a descriptor of its own as long as they last; then the rest in one. */
function shredded(pieces: readonly Piece[], most: number): Piece[] {
  return pieces.flatMap((piece): Piece[] => {
    if (typeof piece === 'number') {
      const single = Math.min(piece - 1, most);
      return [...Array.from({ length: single }, () => 1), piece - single];
    }
    if (!(piece instanceof Uint8Array)) return [piece];
    const single = Math.min(piece.length - 1, most);
    return [...Array.from({ length: single }, (_, at) => piece.subarray(at, at + 1)), piece.subarray(single)];
  });
}

describe.each(DEVICES)('$name', ({ make, queue, request, length }) => {
  const started = (features?: bigint) => {
    const all = plug(make());
    all.driver.start(features === undefined ? {} : { features });
    return { ...all, target: all.driver.queue(queue) };
  };
  /** One request, used. */
  const serve = async (
    target: FakeQueue,
    pieces = request,
    indirect: boolean | number = false,
  ): Promise<number> => {
    target.post(pieces, { indirect });
    const [used] = await target.take();
    return used!.length;
  };

  describe('§2.7.4.1 Message Framing', () => {
    it('no arrangement of descriptors is assumed', async () => {
      const { target } = started();
      const arrangements = [
        shredded(request, 20),
        // Pieces without bytes anywhere.
        request.flatMap((piece): Piece[] => [typeof piece === 'number' ? 0 : new Uint8Array(), piece]),
      ];
      for (const pieces of arrangements) {
        expect(total(pieces)).toBe(total(request));
        expect(await serve(target, pieces)).toBe(length);
      }
    });
  });

  describe('§2.7.5.1 The Virtqueue Descriptor Table', () => {
    it('nothing is written to a device-readable buffer', async () => {
      const { target, ram } = started();
      // Readable bytes alone, so that nothing may change; then before what may be written.
      const noise = Uint8Array.from({ length: 64 }, (_, at) => at + 1);
      const posted = target.post([
        ...request.filter((piece) => typeof piece !== 'number'),
        noise,
        ...request.filter((piece) => typeof piece === 'number'),
      ]);
      await target.take();
      const kept = posted.pieces
        .filter(({ write }) => !write)
        .map(({ at, length: bytes }) => [...ram.at(at, bytes)]);
      const sent = [...request.filter((piece): piece is Uint8Array => piece instanceof Uint8Array), noise];
      expect(kept).toEqual(sent.map((bytes) => [...bytes]));
    });
  });

  describe('§2.7.5.3.2 Indirect Descriptors', () => {
    it('the write-only flag of the descriptor that refers to a table is ignored', async () => {
      const { target, ram } = started();
      const { head } = target.add(request, { indirect: true });
      const flags = target.desc + 16 * head + 12;
      ram.setU16(flags, ram.u16(flags) | 2);
      target.kick();
      expect(await target.take()).toMatchObject([{ head, length }]);
    });

    it('zero or more normal descriptors may come before the table', async () => {
      const { target } = started();
      const pieces = shredded(request, 3);
      for (let inTable = 1; inTable <= pieces.length; inTable += 1) {
        expect(await serve(target, pieces, inTable)).toBe(length);
      }
    });
  });

  describe('§2.7.7.2 Used Buffer Notification Suppression', () => {
    /** Whether using one buffer interrupts. */
    const interrupts = async (features: bigint, prepare: (target: FakeQueue) => void): Promise<boolean> => {
      const { target, driver, irq } = started(features);
      await serve(target);
      driver.handleInterrupt();
      irq.take();
      prepare(target);
      await serve(target);
      expect(driver.read(REG.InterruptStatus)).toBe(irq.count > 0 ? USED_BUFFER : 0);
      return irq.count > 0;
    };

    it('without EVENT_IDX: flags 0 notifies, flags 1 does not, used_event is ignored', async () => {
      for (const event of [0, 1, 2, 0xffff]) {
        const flags = (value: number) => (target: FakeQueue) => {
          target.availFlags = value;
          target.usedEvent = event;
        };
        expect(await interrupts(~EVENT_IDX, flags(0))).toBe(true);
        expect(await interrupts(~EVENT_IDX, flags(1))).toBe(false);
      }
    });

    it('with EVENT_IDX: notifies for the entry at used_event and for no other, flags are ignored', async () => {
      for (const flags of [0, 1]) {
        const event = (value: number) => (target: FakeQueue) => {
          target.availFlags = flags;
          target.usedEvent = value;
        };
        expect(await interrupts(~0n, event(1))).toBe(true);
        for (const other of [0, 2, 3, 0xffff, 0x8000])
          expect(await interrupts(~0n, event(other))).toBe(false);
      }
    });
  });

  describe('§2.7.8.2 The Virtqueue Used Ring', () => {
    it('len and id are there before idx moves', async () => {
      const { target, ram } = started();
      const seen: [number, number][] = [];
      const store = Atomics.store as (array: Uint16Array, index: number, value: number) => number;
      const watch = (array: Uint16Array, index: number, value: number): number => {
        const at = array.byteOffset + index * array.BYTES_PER_ELEMENT - ram.bytes.byteOffset + ram.base;
        if (at === target.used + 2) seen.push([ram.u32(target.used + 4), ram.u32(target.used + 8)]);
        return store(array, index, value);
      };
      vi.spyOn(Atomics, 'store').mockImplementation(watch as unknown as typeof Atomics.store);
      const { head } = target.post(request);
      await target.take();
      expect(seen).toEqual([[head, length]]);
    });

    it('at least len bytes were written, from the first writable one on', async () => {
      const { target, ram } = started();
      const posted = target.add(request);
      for (const { at, length: bytes, write } of posted.pieces) if (write) ram.at(at, bytes).fill(0xee);
      target.kick();
      const [used] = await target.take();
      expect(used!.length).toBe(length);
      // Test devices write none of these: each byte up to len has changed.
      const untouched = posted
        .written()
        .subarray(0, length)
        .filter((byte) => byte === 0xee).length;
      expect(untouched).toBeLessThanOrEqual(length / 128);
    });
  });

  describe('§2.7.10.2 Available Buffer Notification Suppression', () => {
    it('without EVENT_IDX flags are 0 or 1', async () => {
      const { target } = started(~EVENT_IDX);
      for (let time = 0; time < 10; time += 1) {
        await serve(target);
        expect([0, 1]).toContain(target.usedFlags);
      }
    });

    it('with EVENT_IDX flags are 0, and avail_event asks for the next buffer: none is forgotten', async () => {
      const { target } = started();
      for (let time = 0; time < 200; time += 1) {
        await serve(target); // kicks only when avail_event asks for it
        expect(target.usedFlags).toBe(0);
      }
      expect(target.availEvent).toBe(200);
    });

    it('spurious notifications do no harm', async () => {
      const { target, faults, errors, irq } = started();
      for (let time = 0; time < 10; time += 1) target.notify();
      expect([irq.count, faults, errors]).toEqual([0, [], []]);
      expect(await serve(target)).toBe(length);
    });
  });
});
