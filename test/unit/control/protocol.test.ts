/** Lines on a control socket, whole, in pieces, and wrong. */
import { Duplex, PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import {
  encodeAnswer,
  encodeRefusal,
  encodeRequest,
  MAX_LINE,
  parseAnswer,
  parseRequest,
  type Request,
  readLine,
} from '../../../src/control/protocol.js';
import { VmmError } from '../../../src/index.js';

describe('a request', () => {
  it.each<Request>([
    { verb: 'info' },
    { verb: 'agent', timeout: 0 },
    { verb: 'stop', timeout: 1.5, force: true },
  ])('%j is read as it was written', (request) => {
    expect(parseRequest(encodeRequest(request).trimEnd())).toEqual(request);
  });

  it.each([
    ['', /not JSON/],
    ['{"version":1', /not JSON/],
    ['null', /no object/],
    ['[]', /no object/],
    ['{}', /protocol undefined is not known, only 1/],
    ['{"version":2,"verb":"info"}', /protocol 2 is not known/],
    ['{"version":1}', /no such verb: undefined/],
    ['{"version":1,"verb":"kill"}', /no such verb: kill/],
    ['{"version":1,"verb":"agent"}', /timeout/],
    ['{"version":1,"verb":"agent","timeout":"1"}', /timeout/],
    ['{"version":1,"verb":"agent","timeout":-1}', /timeout/],
    ['{"version":1,"verb":"agent","timeout":1e9}', /timeout/],
    ['{"version":1,"verb":"stop","timeout":1}', /force/],
    ['{"version":1,"verb":"stop","timeout":1,"force":0}', /force/],
  ])('%s is refused', (line, why) => {
    expect(() => parseRequest(line)).toThrow(why);
  });
});

describe('an answer', () => {
  it('has its fields', () => {
    expect(parseAnswer(encodeAnswer({ pid: 5 }).trimEnd())).toEqual({ pid: 5 });
  });

  it('may be an error of the other process', () => {
    const error = new VmmError('ERR_VSOCK_REFUSED', 'nobody there', { hint: 'look' });
    expect(() => parseAnswer(encodeRefusal(error))).toThrow(
      expect.objectContaining({ code: 'ERR_VSOCK_REFUSED', message: 'nobody there', hint: 'look' }),
    );
    expect(() => parseAnswer(encodeRefusal(new TypeError('a bug')))).toThrow(
      expect.objectContaining({ code: 'ERR_CONTROL', message: 'a bug' }),
    );
  });

  it.each(['{}', '{"ok":1}', '{"ok":false}', '{"ok":false,"code":"x"}', '{"ok":false,"code":5}', 'OK'])(
    '%s is none',
    (line) => {
      expect(() => parseAnswer(line)).toThrow('control socket: ');
    },
  );
});

describe('a line', () => {
  it('comes in pieces and leaves what follows', async () => {
    const stream = new PassThrough();
    const line = readLine(stream);
    for (const piece of ['{"a"', ':', '1}\nrest', ' of it']) stream.write(piece);
    expect(await line).toBe('{"a":1}');
    stream.end();
    expect(Buffer.concat(await stream.toArray()).toString()).toBe('rest of it');
  });

  it('is refused when it is too long, without end or with one', async () => {
    for (const end of ['', '\n']) {
      const stream = new PassThrough({ highWaterMark: 2 * MAX_LINE });
      stream.write('x'.repeat(MAX_LINE + 1) + end);
      await expect(readLine(stream)).rejects.toThrow('a line of more than');
    }
  });

  it('is refused when the stream ends, breaks, or says nothing', async () => {
    const ended = new PassThrough();
    ended.end('{');
    await expect(readLine(ended)).rejects.toThrow('closed before a line was complete');
    const broken = new Duplex({ read() {}, write() {} });
    const line = readLine(broken);
    broken.destroy(new Error('it broke'));
    await expect(line).rejects.toThrow('it broke');
    await expect(readLine(new PassThrough(), 5)).rejects.toThrow('no answer within 0.005 s');
  });
});
