/** Reads capture files (draft-ietf-opsawg-pcapng) as far as the monitor writes them; strict about everything. */
export interface Capture {
  /** Names, in their order. */
  readonly interfaces: string[];
  readonly packets: {
    readonly card: number;
    /** Unix time, ms. */
    readonly time: number;
    readonly direction: 'received' | 'sent';
    readonly frame: Uint8Array;
  }[];
}

export function readPcapng(file: Uint8Array): Capture {
  const capture: Capture = { interfaces: [], packets: [] };
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  for (let at = 0; at < file.length; ) {
    const [type, length] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    if (length % 4 !== 0 || view.getUint32(at + length - 4, true) !== length)
      throw new Error(`block at ${at}`);
    const body = new DataView(file.buffer, file.byteOffset + at + 8, length - 12);
    if (at === 0) {
      if (type !== 0x0a0d0d0a || body.getUint32(0, true) !== 0x1a2b3c4d) throw new Error('no section header');
    } else if (type === 1) {
      if (body.getUint16(0, true) !== 1) throw new Error('not Ethernet');
      capture.interfaces.push(Buffer.from(options(body, 8).get(2)!).toString());
    } else if (type === 6) {
      const microseconds = body.getUint32(4, true) * 2 ** 32 + body.getUint32(8, true);
      const [captured, original] = [body.getUint32(12, true), body.getUint32(16, true)];
      if (captured !== original) throw new Error('a frame was cut');
      const frame = Uint8Array.from(new Uint8Array(body.buffer, body.byteOffset + 20, captured));
      const flags = options(body, 20 + Math.ceil(captured / 4) * 4).get(2)!;
      capture.packets.push({
        card: body.getUint32(0, true),
        time: microseconds / 1000,
        direction: (flags[0]! & 3) === 1 ? 'received' : 'sent',
        frame,
      });
    } else throw new Error(`block of type ${type}`);
    at += length;
  }
  return capture;
}

function options(body: DataView, start: number): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = start; ; ) {
    const [code, length] = [body.getUint16(at, true), body.getUint16(at + 2, true)];
    if (code === 0) return found;
    found.set(code, new Uint8Array(body.buffer, body.byteOffset + at + 4, length));
    at += 4 + Math.ceil(length / 4) * 4;
  }
}
