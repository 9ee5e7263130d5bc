import { describe, expect, it } from 'vitest';
import { decodeZstd, frameLength, loadZstd } from '../../../../src/backends/qcow2/zstd.js';

/** `printf '%0.sabcdefgh' $(seq 64) | zstd -19 | base64`: 512 bytes, with a content size and a checksum. */
const FRAME = Buffer.from('KLUv/QRofQAAQGFiY2RlZmdoAQD11csF5DCHzA==', 'base64');
const TEXT = Buffer.from('abcdefgh'.repeat(64));

describe('a zstd frame', () => {
  it('ends where its last block and checksum do, whatever follows', () => {
    expect(frameLength(FRAME)).toBe(FRAME.length);
    expect(frameLength(Buffer.concat([FRAME, FRAME, Buffer.alloc(100, 0xff)]))).toBe(FRAME.length);
  });

  it.each([
    ['cut off', FRAME.subarray(0, FRAME.length - 1)],
    ['cut off', FRAME.subarray(0, 6)],
    ['cut off', Buffer.alloc(0)],
    ['its magic', Buffer.alloc(64)],
  ])('is refused when it lacks its end or start: %s', (message, bytes) => {
    expect(() => frameLength(bytes)).toThrow(message);
  });

  it('decodes to a cluster, alone or with others', async () => {
    const decode = await loadZstd();
    const tail = Buffer.alloc(64, 0x28);
    expect(Buffer.from(await decodeZstd(decode, Buffer.concat([FRAME, tail]), 512))).toEqual(TEXT);
    const two = await decodeZstd(decode, Buffer.concat([FRAME, FRAME, tail]), 1024);
    expect(Buffer.from(two)).toEqual(Buffer.concat([TEXT, TEXT]));
  });

  it('fails when it decodes to more or less', async () => {
    const decode = await loadZstd();
    await expect(decodeZstd(decode, FRAME, 511)).rejects.toThrow();
    await expect(decodeZstd(decode, FRAME, 513)).rejects.toThrow();
  });

  it('fails when any byte of it is wrong, or decodes to something of the right size', async () => {
    const decode = await loadZstd();
    for (let at = 0; at < FRAME.length; at += 1) {
      const broken = Buffer.from(FRAME);
      broken[at] = broken[at]! ^ 0x55;
      const result = await decodeZstd(decode, broken, 512).then(
        (bytes) => bytes.length,
        (error: Error) => error.message,
      );
      if (typeof result === 'number') expect(result).toBe(512);
    }
  });
});
