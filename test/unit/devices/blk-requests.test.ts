/** Every request a driver can make of a block device, well formed and not: status, used length, and what happened to the disk. */
import { describe, expect, it } from 'vitest';
import type { BlkOptions } from '../../../src/devices/blk/device.js';
import {
  BlkDriver,
  header,
  IOERR,
  OK,
  type Request,
  ranges,
  T,
  UNSUPP,
  UNTOUCHED,
} from '../../support/blk-driver.js';
import { ST } from '../../support/fake-driver.js';
import type { Piece } from '../../support/fake-queue.js';
import type { DiskOptions } from '../../support/test-disk.js';

const SECTORS = 128; // of a TestDisk
const data = (length: number, seed = 7): Uint8Array => Uint8Array.from({ length }, (_, at) => at * 13 + seed);
const MODES = ['sync', 'async'] as const;

describe.each(MODES)('over a back end that answers %s', (mode) => {
  const started = (disk: DiskOptions = {}, options: Partial<BlkOptions> = {}): BlkDriver =>
    BlkDriver.started({ disk: { mode, ...disk }, ...options });

  it('reads', async () => {
    const blk = started();
    const answer = await blk.request({ type: T.IN, sector: 3, into: 1024 });
    expect([answer.status, answer.length]).toEqual([OK, 1025]);
    expect(answer.data).toEqual(blk.disk.bytes.slice(1536, 2560));
    expect(blk.disk.calls).toEqual(['read 1536+1024']);
  });

  it('writes', async () => {
    const blk = started();
    const answer = await blk.request({ type: T.OUT, sector: 127, out: data(512) });
    expect([answer.status, answer.length]).toEqual([OK, 1]);
    expect(blk.disk.bytes.slice(127 * 512)).toEqual(data(512));
    expect(blk.disk.calls).toEqual([`write ${127 * 512}+512`]);
  });

  it('flushes', async () => {
    const blk = started();
    expect(await blk.request({ type: T.FLUSH })).toMatchObject({ status: OK, length: 1 });
    expect(blk.disk.calls).toEqual(['flush']);
  });

  it('discards', async () => {
    const blk = started();
    const out = ranges({ sector: 4, sectors: 2 }, { sector: 120, sectors: 8 });
    expect(await blk.request({ type: T.DISCARD, out })).toMatchObject({ status: OK, length: 1 });
    expect(blk.disk.calls).toEqual(['discard 2048+1024', 'discard 61440+4096']);
  });

  it('writes zeroes, and lets the back end unmap if the driver does', async () => {
    const blk = started();
    const out = ranges({ sector: 1, sectors: 1 }, { sector: 2, sectors: 3, flags: 1 });
    expect(await blk.request({ type: T.WRITE_ZEROES, out })).toMatchObject({ status: OK, length: 1 });
    expect(blk.disk.calls).toEqual(['zero 512+512', 'zero 1024+1536 unmap']);
    expect(blk.disk.bytes.slice(512, 2560).every((byte) => byte === 0)).toBe(true);
  });

  it('says who it is', async () => {
    const blk = started({}, { serial: 'a disk' });
    const answer = await blk.request({ type: T.GET_ID, into: 20 });
    expect([answer.status, answer.length]).toEqual([OK, 21]);
    expect(Buffer.from(answer.data).toString()).toBe('a disk'.padEnd(20, '\0'));
  });

  it.each([
    { request: { type: T.IN, into: 512 }, length: 0 },
    { request: { type: T.OUT, out: data(512) }, length: 1 },
    { request: { type: T.FLUSH }, length: 1 },
    { request: { type: T.DISCARD, out: ranges({ sector: 0, sectors: 1 }) }, length: 1 },
    { request: { type: T.WRITE_ZEROES, out: ranges({ sector: 0, sectors: 1 }) }, length: 1 },
  ])('answers IOERR to request $request.type when the back end fails', async ({ request, length }) => {
    const errors: unknown[] = [];
    const blk = started({}, { onHostError: (error) => errors.push(error) });
    blk.disk.failure = new Error('EIO');
    expect(await blk.request(request)).toMatchObject({ status: IOERR, length });
    expect(errors).toEqual([blk.disk.failure]);
    expect(blk.device.stats.errors).toBe(1);
    blk.disk.failure = undefined;
    expect(await blk.request(request)).toMatchObject({ status: OK });
  });

  it.each([
    { vectored: true, calls: ['readv 0+1536 in 3', 'writev 512+1536 in 2'] },
    {
      vectored: false,
      calls: ['read 0+512', 'read 512+1000', 'read 1512+24', 'write 512+1000', 'write 1512+536'],
    },
  ])('passes pieces on: vectored $vectored', async ({ vectored, calls }) => {
    const blk = started({ vectored });
    const before = blk.disk.bytes.slice();
    const read = await blk.requestPieces([header(T.IN, 0), 512, 1000, 24, 1]);
    expect(read).toMatchObject({ status: OK, length: 1537 });
    expect(read.data).toEqual(before.slice(0, 1536));
    const write = await blk.requestPieces([header(T.OUT, 1), data(1000, 1), data(536, 2), 1]);
    expect(write).toMatchObject({ status: OK, length: 1 });
    expect(blk.disk.bytes.slice(512, 2048)).toEqual(Uint8Array.from([...data(1000, 1), ...data(536, 2)]));
    expect(blk.disk.calls).toEqual(calls);
  });

  it('stops at the first piece that fails', async () => {
    const blk = started();
    blk.disk.failure = new Error('EIO');
    expect(await blk.requestPieces([header(T.IN), 512, 512, 1])).toMatchObject({ status: IOERR, length: 0 });
    expect(blk.disk.calls).toEqual(['read 0+512']);
  });
});

interface Malformed {
  readonly what: string;
  readonly request: Request;
  readonly status: number;
  /** Bytes from the start of the writable part on that were written. */
  readonly length: number;
}

const MALFORMED: readonly Malformed[] = [
  { what: 'a read of part of a sector', request: { type: T.IN, into: 511 }, status: IOERR, length: 0 },
  { what: 'a read of a sector and a byte', request: { type: T.IN, into: 513 }, status: IOERR, length: 0 },
  {
    what: 'a read at the end',
    request: { type: T.IN, sector: SECTORS, into: 512 },
    status: IOERR,
    length: 0,
  },
  {
    what: 'a read across the end',
    request: { type: T.IN, sector: SECTORS - 1, into: 1024 },
    status: IOERR,
    length: 0,
  },
  {
    what: 'a read at sector 2^53',
    request: { type: T.IN, sector: 2n ** 53n, into: 512 },
    status: IOERR,
    length: 0,
  },
  {
    what: 'a read at sector 2^55, whose bytes wrap to 0',
    request: { type: T.IN, sector: 2n ** 55n, into: 512 },
    status: IOERR,
    length: 0,
  },
  {
    what: 'a read at sector 2^64 - 1',
    request: { type: T.IN, sector: 2n ** 64n - 1n, into: 512 },
    status: IOERR,
    length: 0,
  },
  {
    what: 'a read at sector 2^32',
    request: { type: T.IN, sector: 2n ** 32n, into: 512 },
    status: IOERR,
    length: 0,
  },
  { what: 'a write of part of a sector', request: { type: T.OUT, out: data(100) }, status: IOERR, length: 1 },
  {
    what: 'a write at the end',
    request: { type: T.OUT, sector: SECTORS, out: data(512) },
    status: IOERR,
    length: 1,
  },
  {
    what: 'a write across the end',
    request: { type: T.OUT, sector: SECTORS - 1, out: data(1024) },
    status: IOERR,
    length: 1,
  },
  {
    what: 'a write at sector 2^64 - 1',
    request: { type: T.OUT, sector: 2n ** 64n - 1n, out: data(512) },
    status: IOERR,
    length: 1,
  },
  {
    what: 'a request for an ID of 19 bytes',
    request: { type: T.GET_ID, into: 19 },
    status: IOERR,
    length: 0,
  },
  { what: 'a request for an ID of no bytes', request: { type: T.GET_ID }, status: IOERR, length: 1 },
  { what: 'a discard without ranges', request: { type: T.DISCARD }, status: IOERR, length: 1 },
  { what: 'a discard of half a range', request: { type: T.DISCARD, out: data(8) }, status: IOERR, length: 1 },
  {
    what: 'a discard of a range and a half',
    request: { type: T.DISCARD, out: new Uint8Array(24) },
    status: IOERR,
    length: 1,
  },
  {
    what: 'a discard of 17 ranges',
    request: {
      type: T.DISCARD,
      out: ranges(...Array.from({ length: 17 }, () => ({ sector: 0, sectors: 1 }))),
    },
    status: IOERR,
    length: 1,
  },
  {
    what: 'a discard at the end',
    request: { type: T.DISCARD, out: ranges({ sector: SECTORS, sectors: 1 }) },
    status: IOERR,
    length: 1,
  },
  {
    what: 'a discard across the end',
    request: { type: T.DISCARD, out: ranges({ sector: SECTORS - 1, sectors: 2 }) },
    status: IOERR,
    length: 1,
  },
  {
    what: 'a discard at sector 2^64 - 1',
    request: { type: T.DISCARD, out: ranges({ sector: 2n ** 64n - 1n, sectors: 1 }) },
    status: IOERR,
    length: 1,
  },
  {
    what: 'a discard whose second range is outside',
    request: { type: T.DISCARD, out: ranges({ sector: 0, sectors: 1 }, { sector: SECTORS, sectors: 1 }) },
    status: IOERR,
    length: 1,
  },
  {
    what: 'a discard with the unmap flag',
    request: { type: T.DISCARD, out: ranges({ sector: 0, sectors: 1, flags: 1 }) },
    status: UNSUPP,
    length: 1,
  },
  {
    what: 'a discard with an unknown flag',
    request: { type: T.DISCARD, out: ranges({ sector: 0, sectors: 1, flags: 0x8000_0000 }) },
    status: UNSUPP,
    length: 1,
  },
  {
    what: 'a discard with an unknown flag behind a range outside',
    request: {
      type: T.DISCARD,
      out: ranges({ sector: SECTORS, sectors: 1 }, { sector: 0, sectors: 1, flags: 2 }),
    },
    status: UNSUPP,
    length: 1,
  },
  {
    what: 'zeroes with an unknown flag',
    request: { type: T.WRITE_ZEROES, out: ranges({ sector: 0, sectors: 1, flags: 2 }) },
    status: UNSUPP,
    length: 1,
  },
  {
    what: 'zeroes with unmap and an unknown flag',
    request: { type: T.WRITE_ZEROES, out: ranges({ sector: 0, sectors: 1, flags: 3 }) },
    status: UNSUPP,
    length: 1,
  },
  {
    what: 'zeroes across the end',
    request: { type: T.WRITE_ZEROES, out: ranges({ sector: 0, sectors: SECTORS + 1 }) },
    status: IOERR,
    length: 1,
  },
  {
    what: 'zeroes of more sectors than it said it takes',
    request: { type: T.WRITE_ZEROES, out: ranges({ sector: 0, sectors: 0xffff_ffff }) },
    status: IOERR,
    length: 1,
  },
  { what: 'a request of type 2, SCSI long ago', request: { type: 2, into: 512 }, status: UNSUPP, length: 0 },
  { what: 'a request of type 5, a legacy flush', request: { type: 5 }, status: UNSUPP, length: 1 },
  {
    what: 'a request for a lifetime, which is not offered',
    request: { type: T.GET_LIFETIME, into: 6 },
    status: UNSUPP,
    length: 0,
  },
  {
    what: 'a secure erase, which is not offered',
    request: { type: 14, out: ranges({ sector: 0, sectors: 1 }) },
    status: UNSUPP,
    length: 1,
  },
  {
    what: 'a legacy write with a barrier',
    request: { type: 0x8000_0001, out: data(512) },
    status: UNSUPP,
    length: 1,
  },
  { what: 'a request of type 2^32 - 1', request: { type: 0xffff_ffff, into: 3 }, status: UNSUPP, length: 0 },
];

describe('a block device answers', () => {
  it.each(MALFORMED)(
    '$what with status $status, used length $length, and does nothing',
    async ({ request, status, length }) => {
      const blk = BlkDriver.started();
      const before = blk.disk.bytes.slice();
      const answer = await blk.request(request);
      expect([answer.status, answer.length]).toEqual([status, length]);
      expect(answer.data.every((byte) => byte === UNTOUCHED)).toBe(true);
      expect(Buffer.compare(blk.disk.bytes, before)).toBe(0);
      expect(blk.disk.calls).toEqual([]);
      expect(blk.plugged.faults).toEqual([]);
    },
  );

  it.each([
    { what: 'a read of no sectors', request: { type: T.IN, sector: 5 } },
    { what: 'a write of no sectors', request: { type: T.OUT, sector: 5 } },
    { what: 'a write of no sectors at the end', request: { type: T.OUT, sector: SECTORS } },
    {
      what: 'a discard of a range of no sectors',
      request: { type: T.DISCARD, out: ranges({ sector: 5, sectors: 0 }) },
    },
    {
      what: 'zeroes for a range of no sectors',
      request: { type: T.WRITE_ZEROES, out: ranges({ sector: 5, sectors: 0 }) },
    },
  ])('$what without asking the back end', async ({ request }) => {
    const blk = BlkDriver.started();
    expect(await blk.request(request)).toMatchObject({ status: OK, length: 1 });
    expect(blk.disk.calls).toEqual([]);
  });

  it('a write with room for data it does not need: the room stays as it is', async () => {
    const blk = BlkDriver.started();
    const answer = await blk.request({ type: T.OUT, out: data(512), into: 64 });
    expect([answer.status, answer.length, answer.data[0]]).toEqual([OK, 0, UNTOUCHED]);
  });

  it('a read with data it does not need', async () => {
    const blk = BlkDriver.started();
    expect(await blk.request({ type: T.IN, out: data(30), into: 512 })).toMatchObject({
      status: OK,
      length: 513,
    });
  });

  it('a flush with room: the used length is what was written before the room', async () => {
    const blk = BlkDriver.started();
    expect(await blk.request({ type: T.FLUSH, into: 10 })).toMatchObject({ status: OK, length: 0 });
  });

  it('a request for its ID with more room than that: the rest stays as it is', async () => {
    const blk = BlkDriver.started({ serial: 'exactly twenty bytes' });
    const answer = await blk.request({ type: T.GET_ID, into: 32 });
    expect([answer.status, answer.length]).toEqual([OK, 20]);
    expect(Buffer.from(answer.data.subarray(0, 20)).toString()).toBe('exactly twenty bytes');
    expect(answer.data.subarray(20).every((byte) => byte === UNTOUCHED)).toBe(true);
  });

  it('with an ID cut to 20 bytes', async () => {
    const blk = BlkDriver.started({ serial: 'more than twenty bytes of it' });
    const { data } = await blk.request({ type: T.GET_ID, into: 20 });
    expect(Buffer.from(data).toString()).toBe('more than twenty byt');
  });
});

describe('a request that cannot be answered stops the device:', () => {
  it.each<{ what: string; pieces: readonly Piece[] }>([
    { what: 'no head', pieces: [1] },
    { what: 'a head of 15 bytes', pieces: [new Uint8Array(15), 1] },
    { what: 'a head of 15 bytes in pieces', pieces: [new Uint8Array(8), new Uint8Array(7), 513] },
    { what: 'no place for a status', pieces: [header(T.FLUSH)] },
    { what: 'no byte for a status', pieces: [header(T.FLUSH), 0, 0] },
  ])('$what', ({ pieces }) => {
    const blk = BlkDriver.started();
    blk.driver.queue().post(pieces);
    expect(blk.driver.status & ST.NEEDS_RESET).not.toBe(0);
    expect(blk.plugged.faults.map(({ clause }) => clause)).toEqual(['virtio 1.2 §5.2.6']);
    blk.driver.start();
    blk.driver.queue().post([header(T.FLUSH), 1]);
    expect(blk.disk.calls).toEqual(['flush']);
  });
});

describe('framing (§2.7.4.1)', () => {
  /** `bytes` in two pieces, cut at `at`. */
  const cut = (bytes: Uint8Array, at: number): Uint8Array[] => [bytes.slice(0, at), bytes.slice(at)];

  it('of a write may be cut at any byte', async () => {
    const blk = BlkDriver.started();
    const request = Uint8Array.from([...header(T.OUT, 2), ...data(512)]);
    const wrong: number[] = [];
    for (let at = 0; at <= request.length; at += 1) {
      blk.disk.bytes.fill(0);
      const mark = blk.plugged.ram.mark();
      const { status, length } = await blk.requestPieces([...cut(request, at), 1]);
      const stored = Buffer.compare(blk.disk.bytes.subarray(1024, 1536), data(512)) === 0;
      const elsewhere = blk.disk.bytes.subarray(1536).some((byte) => byte !== 0);
      if (status !== OK || length !== 1 || !stored || elsewhere) wrong.push(at);
      blk.plugged.ram.release(mark);
    }
    expect(wrong).toEqual([]);
  });

  it('of a read may be cut at any byte, before the status and behind it', async () => {
    const blk = BlkDriver.started();
    const wrong: number[] = [];
    for (let at = 0; at <= 1025; at += 1) {
      const mark = blk.plugged.ram.mark();
      const { status, length, data: got } = await blk.requestPieces([header(T.IN, 1), at, 1025 - at]);
      const same = Buffer.compare(got, blk.disk.bytes.subarray(512, 1536)) === 0;
      if (status !== OK || length !== 1025 || !same) wrong.push(at);
      blk.plugged.ram.release(mark);
    }
    expect(wrong).toEqual([]);
  });

  it('of a head may be cut into single bytes', async () => {
    const blk = BlkDriver.started();
    const pieces = [...header(T.IN, 1)].map((byte) => Uint8Array.of(byte));
    expect(await blk.requestPieces([...pieces, 512, 1])).toMatchObject({ status: OK, length: 513 });
  });

  it('of ranges may be cut at any byte', async () => {
    const blk = BlkDriver.started();
    const request = Uint8Array.from([
      ...header(T.DISCARD),
      ...ranges({ sector: 1, sectors: 2 }, { sector: 9, sectors: 1 }),
    ]);
    for (let at = 0; at <= request.length; at += 1) {
      expect(await blk.requestPieces([...cut(request, at), 1])).toMatchObject({ status: OK, length: 1 });
    }
    expect(new Set(blk.disk.calls)).toEqual(new Set(['discard 512+1024', 'discard 4608+512']));
    expect(blk.disk.calls).toHaveLength(2 * (request.length + 1));
  });

  it('of everything may be indirect', async () => {
    const blk = BlkDriver.started();
    const queue = blk.driver.queue();
    const posted = queue.post([header(T.IN, 0), 512, 512, 1], { indirect: true });
    expect(await queue.take()).toMatchObject([{ head: posted.head, length: 1025 }]);
    expect(posted.written().slice(0, 1024)).toEqual(blk.disk.bytes.slice(0, 1024));
  });

  it('lets a driver use the 254 segments that seg_max allows', async () => {
    const blk = BlkDriver.started({ disk: { size: 254 * 512 } });
    const segments = Array.from({ length: 254 }, () => 512);
    expect(await blk.requestPieces([header(T.IN), ...segments, 1])).toMatchObject({
      status: OK,
      length: 254 * 512 + 1,
    });
  });
});
