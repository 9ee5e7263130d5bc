/**
 * A driver of a socket device, with offsets and numbers of its own (virtio 1.2 §5.10.6): sends packets, keeps rx buffers posted, and reads
 * what comes back. The host's side is a recorder that does what a test tells it.
 */
import type { GuestStream, HostEnd, StreamEnd, VsockHost } from '../../src/devices/vsock/backend.js';
import { VsockDevice, type VsockLimits } from '../../src/devices/vsock/device.js';
import type { FakeDriver, StartOptions } from './fake-driver.js';
import type { FakeQueue } from './fake-queue.js';
import { GuestRam } from './guest-ram.js';
import { type Plugged, plug, turn } from './plug.js';

export const OP = {
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;
export const HOST = 2;
export const GUEST = 52;
const HEADER = 44;

export interface Packet {
  readonly srcCid: bigint;
  readonly dstCid: bigint;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly type: number;
  readonly op: number;
  readonly flags: number;
  readonly bufAlloc: number;
  readonly fwdCnt: number;
  readonly data: Uint8Array;
}

export type PacketOptions = Partial<Omit<Packet, 'data'>> & {
  readonly data?: Uint8Array;
  /** What `len` says; the data's length unless given. */
  readonly length?: number;
};

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

export function encodePacket(packet: PacketOptions): Uint8Array {
  const data = packet.data ?? new Uint8Array();
  const bytes = new Uint8Array(HEADER + data.length);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, packet.srcCid ?? BigInt(GUEST), true);
  view.setBigUint64(8, packet.dstCid ?? BigInt(HOST), true);
  view.setUint32(16, packet.srcPort ?? 1000, true);
  view.setUint32(20, packet.dstPort ?? 80, true);
  view.setUint32(24, packet.length ?? data.length, true);
  view.setUint16(28, packet.type ?? 1, true);
  view.setUint16(30, packet.op ?? 0, true);
  view.setUint32(32, packet.flags ?? 0, true);
  view.setUint32(36, packet.bufAlloc ?? 0x1_0000, true);
  view.setUint32(40, packet.fwdCnt ?? 0, true);
  bytes.set(data, HEADER);
  return bytes;
}

export function decodePacket(bytes: Uint8Array): Packet {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = view.getUint32(24, true);
  if (bytes.length !== HEADER + length) throw new Error(`len is ${length} in ${bytes.length} bytes`);
  return {
    srcCid: view.getBigUint64(0, true),
    dstCid: view.getBigUint64(8, true),
    srcPort: view.getUint32(16, true),
    dstPort: view.getUint32(20, true),
    type: view.getUint16(28, true),
    op: view.getUint16(30, true),
    flags: view.getUint32(32, true),
    bufAlloc: view.getUint32(36, true),
    fwdCnt: view.getUint32(40, true),
    data: bytes.slice(HEADER),
  };
}

/** The host's end of one connection: keeps everything, says everything in `said`. */
export class RecordedEnd implements HostEnd {
  stream!: GuestStream;
  /** `opened`, `data 5`, `ended`, `deaf`, `closed WHY`. */
  readonly said: string[] = [];
  text = '';
  outgoing: Uint8Array = new Uint8Array();
  /** Consumes what comes, at once. */
  greedy = true;

  opened(): void {
    this.said.push('opened');
  }
  received(bytes: Uint8Array): void {
    this.said.push(`data ${bytes.length}`);
    this.text += textOf(bytes);
    if (this.greedy) this.stream.consumed(bytes.length);
  }
  guestEnded(): void {
    this.said.push('ended');
  }
  guestDeaf(): void {
    this.said.push('deaf');
  }
  pull(into: Uint8Array): number {
    const part = this.outgoing.subarray(0, into.length);
    into.set(part);
    this.outgoing = this.outgoing.subarray(part.length);
    return part.length;
  }
  over(why: StreamEnd): void {
    this.said.push(`closed ${why}`);
  }
  send(bytes: Uint8Array | string): void {
    this.outgoing = typeof bytes === 'string' ? bytesOf(bytes) : bytes;
    this.stream.ready();
  }
}

export class RecordingHost implements VsockHost {
  readonly ends: RecordedEnd[] = [];
  /** Whom to refuse; nobody unless said. */
  refuses: (port: number) => boolean = () => false;
  /** Takes connections at once. */
  accepts = true;

  connecting(stream: GuestStream): HostEnd | undefined {
    if (this.refuses(stream.hostPort)) return undefined;
    const end = new RecordedEnd();
    end.stream = stream;
    this.ends.push(end);
    if (this.accepts) stream.accept();
    return end;
  }
}

/** Buffers of the rx queue: what Linux posts, 4 KiB behind a header. */
const RX_ROOM = 4096;

export class VsockDriver {
  readonly plugged: Plugged<VsockDevice>;
  readonly driver: FakeDriver;

  constructor(
    readonly host = new RecordingHost(),
    limits: Partial<VsockLimits> = {},
    start: StartOptions = {},
    device = new VsockDevice('vsock', GUEST, host, limits),
  ) {
    this.plugged = plug(device, { ram: new GuestRam(16 * 2 ** 20) });
    this.driver = this.plugged.driver;
    this.driver.start(start);
  }
  get device(): VsockDevice {
    return this.plugged.device;
  }
  get rx(): FakeQueue {
    return this.driver.queue(0);
  }
  get tx(): FakeQueue {
    return this.driver.queue(1);
  }

  /** Posts `count` rx buffers. */
  post(count: number, room = RX_ROOM): void {
    for (let index = 0; index < count; index += 1) this.rx.add([HEADER, room]);
    this.rx.notify();
  }

  send(packet: PacketOptions): void {
    this.tx.post([encodePacket(packet)]);
  }

  /** Packets that the device has put into rx buffers since the last call. */
  async received(): Promise<Packet[]> {
    await turn();
    await turn();
    this.tx.collect();
    return this.rx.collect().map(({ posted, length }) => decodePacket(posted!.written().subarray(0, length)));
  }

  /** A driver of somebody else's device, with CID `GUEST`. */
  static of(device: VsockDevice): VsockDriver {
    return new VsockDriver(undefined, {}, {}, device);
  }

  /** The next packets, `count` or more, as they come. @throws Error after 5 s */
  async next(count = 1): Promise<Packet[]> {
    const packets: Packet[] = [];
    for (const end = performance.now() + 5000; packets.length < count; ) {
      if (performance.now() > end) throw new Error(`${packets.length} of ${count} packets after 5 s`);
      packets.push(...(await this.received()));
    }
    return packets;
  }

  /** A connection that the guest asked for, taken by the host. @returns the host's end */
  async open(ports: { srcPort?: number; dstPort?: number; bufAlloc?: number } = {}): Promise<RecordedEnd> {
    this.post(1);
    this.send({ op: OP.REQUEST, ...ports });
    const packets = await this.received();
    if (packets.length !== 1 || packets[0]!.op !== OP.RESPONSE) throw new Error('not accepted');
    return this.host.ends.at(-1)!;
  }
}

/** A connection that the host asks for. */
export function connectTo(vsock: VsockDriver, port = 5000, timeoutMs = 10_000): RecordedEnd {
  const end = new RecordedEnd();
  const stream = vsock.device.connect(port, end, timeoutMs);
  if (!stream) throw new Error('no connection');
  end.stream = stream;
  return end;
}

export const ops = (packets: readonly Packet[]): number[] => packets.map(({ op }) => op);

/** The guest's answer to a packet. */
export const reply = ({ srcPort, dstPort }: Packet, op: number): PacketOptions => ({
  op,
  srcPort: dstPort,
  dstPort: srcPort,
});
