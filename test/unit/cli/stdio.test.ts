import { Duplex, PassThrough, Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { connectInput, connectOutput, type Input } from '../../../src/cli/stdio.js';

/** A guest's serial port: what it was sent, and what it says. */
function serialPort({ takes = true } = {}) {
  const received: string[] = [];
  const waiting: (() => void)[] = [];
  const serial = new Duplex({
    highWaterMark: 8,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      received.push(chunk.toString('latin1'));
      if (takes) done();
      else waiting.push(done);
    },
  });
  return { serial, received: () => received.join(''), take: () => waiting.shift()?.() };
}

function terminal(): Input & PassThrough & { modes: boolean[] } {
  const modes: boolean[] = [];
  const input = new PassThrough();
  return Object.assign(input, {
    modes,
    isTTY: true as const,
    setRawMode(mode: boolean) {
      modes.push(mode);
      return input as never;
    },
  }) as never;
}

describe('piped input', () => {
  it('goes to the guest, and its end becomes Ctrl-D', async () => {
    const { serial, received } = serialPort();
    const input = new PassThrough();
    connectInput(serial, input, () => expect.unreachable());
    input.end('ls\n');
    await turn();
    await turn();
    expect(received()).toBe('ls\n\x04');
  });

  it('in the middle of a line ends in two: the first only hands the line over', async () => {
    const { serial, received } = serialPort();
    const input = new PassThrough();
    connectInput(serial, input, () => {});
    input.end('ls');
    await turn();
    await turn();
    expect(received()).toBe('ls\x04\x04');
  });

  it('that is empty ends in one', async () => {
    const { serial, received } = serialPort();
    const input = new PassThrough();
    connectInput(serial, input, () => {});
    input.end();
    await turn();
    await turn();
    expect(received()).toBe('\x04');
  });

  it('may hold Ctrl-]: only a terminal has a user to leave', async () => {
    const { serial, received } = serialPort();
    const input = new PassThrough();
    connectInput(serial, input, () => expect.unreachable());
    input.write('a\x1db');
    await turn();
    expect(received()).toBe('a\x1db');
  });

  it('waits while the guest takes nothing', async () => {
    const { serial, received, take } = serialPort({ takes: false });
    const input = new PassThrough();
    connectInput(serial, input, () => {});
    input.write('0123456789');
    await turn();
    expect(input.isPaused()).toBe(true);
    input.write('more');
    await turn();
    expect(received()).toBe('0123456789');
    take();
    await turn();
    await turn();
    expect(received()).toBe('0123456789more');
  });

  it('goes nowhere once the guest is gone', async () => {
    const { serial, received } = serialPort();
    const input = new PassThrough();
    connectInput(serial, input, () => {});
    serial.end();
    input.end('late\n');
    await turn();
    expect(received()).toBe('');
  });
});

describe('a terminal', () => {
  it('is raw while it is connected', () => {
    const input = terminal();
    const disconnect = connectInput(serialPort().serial, input, () => {});
    expect(input.modes).toEqual([true]);
    disconnect();
    expect(input.modes).toEqual([true, false]);
    expect(input.listenerCount('data')).toBe(0);
  });

  it('sends every key but Ctrl-], which leaves; what was typed before it still goes', async () => {
    const { serial, received } = serialPort();
    const input = terminal();
    let left = 0;
    connectInput(serial, input, () => void (left += 1));
    input.write('\x03\x1c');
    await turn();
    expect([received(), left]).toEqual(['\x03\x1c', 0]);
    input.write('bye\x1dnot this');
    await turn();
    expect([received(), left]).toEqual(['\x03\x1cbye', 1]);
  });
});

describe('output', () => {
  it('is copied to its end', async () => {
    const { serial } = serialPort();
    const output = new PassThrough();
    const done = connectOutput(serial, output);
    serial.push('hello');
    serial.push(null);
    await done;
    expect(output.read()?.toString()).toBe('hello');
  });

  it('stops when nobody reads, and goes on when somebody does', async () => {
    const { serial } = serialPort();
    const waiting: (() => void)[] = [];
    let written = '';
    const output = new Writable({
      highWaterMark: 1,
      write(chunk, _encoding, done) {
        written += chunk;
        waiting.push(done);
      },
    });
    const done = connectOutput(serial, output);
    serial.push('one');
    await turn();
    serial.push('two');
    await turn();
    expect(serial.isPaused()).toBe(true);
    expect(written).toBe('one');
    serial.push(null);
    let finished = false;
    void done.then(() => void (finished = true));
    for (let i = 0; i < 20 && !finished; i += 1) {
      waiting.shift()?.();
      await turn();
    }
    expect(finished).toBe(true);
    expect(written).toBe('onetwo');
  });

  it('that cannot be written is an error', async () => {
    const { serial } = serialPort();
    const broken = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error('closed'), { code: 'EPIPE' })),
    });
    const done = connectOutput(serial, broken);
    serial.push('x');
    await expect(done).rejects.toMatchObject({ code: 'EPIPE' });
  });
});
