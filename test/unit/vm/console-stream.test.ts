import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type ConsoleEnd, ConsoleStream } from '../../../src/vm/console-stream.js';

/** A device that takes as many bytes as it has been given room for. */
class Device implements ConsoleEnd {
  onRoom: (() => void) | undefined;
  received = '';
  constructor(public room = Number.POSITIVE_INFINITY) {}
  receive(bytes: Uint8Array): number {
    const count = Math.min(this.room, bytes.length);
    this.received += Buffer.from(bytes.subarray(0, count)).toString('latin1');
    this.room -= count;
    return count;
  }
  makeRoom(count: number): void {
    this.room += count;
    this.onRoom?.();
  }
}

const LIMIT = 256 * 1024;
const text = (value: string): Uint8Array => Buffer.from(value);

describe('output of a guest', () => {
  it('reaches the reader in order', async () => {
    const stream = new ConsoleStream(new Device());
    stream.deliver(text('before '));
    let read = '';
    stream.setEncoding('latin1').on('data', (chunk: string) => void (read += chunk));
    await turn();
    stream.deliver(text('after'));
    await turn();
    expect(read).toBe('before after');
  });

  it('is a copy: the device may use its buffer again', async () => {
    const stream = new ConsoleStream(new Device());
    const buffer = Buffer.from('one');
    stream.deliver(buffer);
    buffer.fill('x');
    stream.finish();
    expect(Buffer.concat(await stream.toArray()).toString()).toBe('one');
  });

  it('is a copy for a reader that waits for it, too', async () => {
    const stream = new ConsoleStream(new Device());
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await turn();
    const buffer = Buffer.from('one');
    stream.deliver(buffer);
    buffer.fill('x');
    await turn();
    expect(Buffer.concat(chunks).toString()).toBe('one');
  });

  it('waits for a reader up to a limit; then the oldest is dropped and counted', async () => {
    const stream = new ConsoleStream(new Device());
    const total = 8 * LIMIT;
    for (let i = 0; i < total / 1024; i += 1) stream.deliver(text(`${String(i).padStart(1023, ' ')}\n`));
    stream.finish();
    const read = Buffer.concat(await stream.toArray());
    expect(stream.dropped).toBe(total - read.length);
    expect(read.length).toBeLessThanOrEqual(LIMIT);
    expect(read.length).toBeGreaterThan(LIMIT / 2);
    expect(read.toString().endsWith(`${total / 1024 - 1}\n`)).toBe(true);
  });

  it('tells the device whether to go on: to a reader that is slow, not to one that does not exist', async () => {
    const stream = new ConsoleStream(new Device());
    for (let i = 0; i < 100; i += 1) expect(stream.deliver(new Uint8Array(4096))).toBe(true);
    let drained = 0;
    stream.onDrain = () => void (drained += 1);
    stream.read(0);
    stream.pause();
    expect(stream.deliver(new Uint8Array(LIMIT))).toBe(false);
    expect(drained).toBe(0);
    stream.resume();
    for (let i = 0; i < 50 && drained === 0; i += 1) await turn();
    expect(drained).toBeGreaterThan(0);
    expect(stream.deliver(text('x'))).toBe(true);
  });

  it('ends when the VM does, after everything was read', async () => {
    const stream = new ConsoleStream(new Device());
    for (let i = 0; i < 50; i += 1) stream.deliver(new Uint8Array(1000).fill(i));
    stream.finish();
    const read = Buffer.concat(await stream.toArray());
    expect(read.length).toBe(50_000);
    expect(read.at(-1)).toBe(49);
  });

  it('goes nowhere, without complaint, when the embedder destroyed the stream', async () => {
    const stream = new ConsoleStream(new Device());
    stream.destroy();
    await turn();
    for (let i = 0; i < 1000; i += 1) stream.deliver(new Uint8Array(4096));
    stream.finish();
    await turn();
    expect(stream.readableLength).toBe(0);
  });
});

describe('input for a guest', () => {
  it('goes to the device', async () => {
    const device = new Device();
    const stream = new ConsoleStream(device);
    stream.write('ls\n');
    await turn();
    expect(device.received).toBe('ls\n');
  });

  it('waits until the device takes it, in order', async () => {
    const device = new Device(3);
    const stream = new ConsoleStream(device);
    let written = 0;
    stream.write('hello ', () => void (written += 1));
    stream.write('world', () => void (written += 1));
    await turn();
    expect([device.received, written]).toEqual(['hel', 0]);
    device.makeRoom(4);
    await turn();
    expect([device.received, written]).toEqual(['hello w', 1]);
    device.makeRoom(100);
    await turn();
    expect([device.received, written]).toEqual(['hello world', 2]);
  });

  it('holds the writer back', () => {
    const stream = new ConsoleStream(new Device(0));
    let ok = true;
    let count = 0;
    for (; ok && count < 1000; count += 1) ok = stream.write('x'.repeat(1024));
    expect(ok).toBe(false);
    expect(count).toBeLessThanOrEqual(64);
  });

  it('that the guest did not take when it ended does not keep the writer waiting', async () => {
    const stream = new ConsoleStream(new Device(0));
    let called = false;
    stream.write('never taken', () => void (called = true));
    stream.finish();
    await turn();
    expect(called).toBe(true);
  });

  it('is an error after the end', async () => {
    const stream = new ConsoleStream(new Device());
    stream.finish();
    const error = new Promise((resolve) => stream.once('error', resolve));
    stream.write('late');
    expect(await error).toMatchObject({ code: 'ERR_STREAM_WRITE_AFTER_END' });
  });

  it('may end before the output does', async () => {
    const device = new Device();
    const stream = new ConsoleStream(device);
    stream.end('bye');
    await turn();
    stream.deliver(text('still here'));
    stream.finish();
    expect(Buffer.concat(await stream.toArray()).toString()).toBe('still here');
    expect(device.received).toBe('bye');
  });

  it('asks the device no more once the stream is destroyed', async () => {
    const device = new Device(0);
    const stream = new ConsoleStream(device);
    stream.on('error', () => {});
    stream.write('x');
    stream.destroy();
    await turn();
    device.makeRoom(10);
    expect(device.received).toBe('');
  });
});
