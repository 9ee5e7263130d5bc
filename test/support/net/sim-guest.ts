/** A guest on a wire: a card, an address, and enough of a stack to talk TCP, UDP and ICMP with the code under test. */
import type { VnetHeader } from '../../../src/devices/net/backend.js';
import {
  completeFrame,
  type Ends,
  icmpFrame,
  ip,
  readFrame,
  type Seen,
  tcpFrame,
  udpFrame,
} from './guest-frames.js';
import { type GuestClock, GuestTcp, type GuestTcpOptions, type ParsedTcp, readTcp } from './guest-tcp.js';

export interface SimGuestOptions {
  readonly clock: GuestClock;
  /** Puts a frame on the wire. */
  readonly send: (frame: Uint8Array) => void;
  readonly mac?: Uint8Array;
  readonly gatewayMac?: Uint8Array;
  readonly address?: string;
  readonly address6?: string;
  readonly tcp?: GuestTcpOptions;
  /** The next initial sequence number. */
  readonly isn?: number;
}

export interface SeenUdp {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Uint8Array;
}

export class SimGuest {
  readonly mac: Uint8Array;
  readonly address: Uint8Array;
  readonly address6: Uint8Array;
  gatewayMac: Uint8Array;
  /** Every packet that is not TCP of a known connection. */
  onPacket: (seen: Seen) => void = () => {};
  onUdp: (datagram: SeenUdp) => void = () => {};
  readonly unsound: string[] = [];
  readonly #options: SimGuestOptions;
  readonly #connections = new Map<string, GuestTcp>();
  readonly #listeners = new Map<number, (connection: GuestTcp) => void>();
  #isn: number;
  #nextPort = 32_768;
  silent = false;
  /** Whether segments of no connection are answered, as a kernel does: with a reset. */
  answersStrays = true;

  constructor(options: SimGuestOptions) {
    this.#options = options;
    this.mac = options.mac ?? Uint8Array.of(2, 0, 0, 0, 0, 1);
    this.gatewayMac = options.gatewayMac ?? Uint8Array.of(2, 0x54, 0x56, 0, 0, 1);
    this.address = ip(options.address ?? '10.0.2.15');
    this.address6 = ip(options.address6 ?? 'fd74:7970:6576::15');
    this.#isn = options.isn ?? 1000;
  }

  get open(): number {
    return this.#connections.size;
  }

  ends(to: Uint8Array): Ends {
    const from = to.length === 4 ? this.address : this.address6;
    return { fromMac: this.mac, toMac: this.gatewayMac, from, to };
  }

  /** Puts any frame on the wire. */
  sendFrame(frame: Uint8Array): void {
    if (!this.silent) this.#options.send(frame);
  }

  /** Opens a connection; `onClose` and the rest are for the caller to set before time goes on. */
  connect(to: string, port: number, options: GuestTcpOptions & { localPort?: number } = {}): GuestTcp {
    const local = options.localPort ?? this.#takePort();
    const connection = this.#make(ip(to), local, port, options);
    connection.connect();
    return connection;
  }

  listen(port: number, accept: (connection: GuestTcp) => void): void {
    this.#listeners.set(port, accept);
  }

  sendUdp(to: string, sourcePort: number, destinationPort: number, data: Uint8Array): void {
    this.sendFrame(udpFrame(this.ends(ip(to)), sourcePort, destinationPort, data));
  }

  ping(to: string, data = Uint8Array.from([0, 1, 0, 1, 9, 8, 7])): void {
    const address = ip(to);
    this.sendFrame(icmpFrame(this.ends(address), address.length === 4 ? 8 : 128, 0, data));
  }

  arpRequest(target: string): void {
    const frame = [...new Uint8Array(6).fill(0xff), ...this.mac, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    this.sendFrame(
      Uint8Array.from([...frame, ...this.mac, ...this.address, 0, 0, 0, 0, 0, 0, ...ip(target)]),
    );
  }

  /** Takes a frame of the wire as a card would. */
  receive(frame: Uint8Array, header?: VnetHeader): void {
    for (const whole of completeFrame(frame, header)) {
      try {
        this.#take(readFrame(whole));
      } catch (error) {
        this.unsound.push(String(error));
      }
    }
  }

  #take(seen: Seen): void {
    if (seen.type === 0x0806) {
      this.#takeArp(seen);
      return;
    }
    if (seen.protocol === 58 && seen.payload[0] === 135) this.#takeSolicit(seen);
    if (seen.protocol === 6) {
      this.#takeTcp(seen);
      return;
    }
    if (seen.protocol === 17 && (seen.fragment & 0x3fff) === 0) {
      const { payload, from, to } = seen;
      const [sourcePort, destinationPort] = [
        payload[0]! * 256 + payload[1]!,
        payload[2]! * 256 + payload[3]!,
      ];
      this.onUdp({ from, to, sourcePort, destinationPort, data: payload.slice(8) });
    }
    this.onPacket(seen);
  }

  #takeArp(seen: Seen): void {
    this.onPacket(seen);
    const { payload } = seen;
    if (payload[7] !== 1 || !this.address.every((byte, index) => byte === payload[24 + index])) return;
    const reply = [
      ...payload.slice(8, 14),
      ...this.mac,
      8,
      6,
      0,
      1,
      8,
      0,
      6,
      4,
      0,
      2,
      ...this.mac,
      ...this.address,
    ];
    this.sendFrame(Uint8Array.from([...reply, ...payload.slice(8, 18)]));
  }

  #takeSolicit({ payload, from }: Seen): void {
    const target = payload.slice(8, 24);
    if (!target.every((byte, index) => byte === this.address6[index])) return;
    const rest = Uint8Array.from([0x60, 0, 0, 0, ...target, 2, 1, ...this.mac]);
    this.sendFrame(icmpFrame(this.ends(from), 136, 0, rest, 255));
  }

  #takeTcp(seen: Seen): void {
    const segment = readTcp(seen.payload);
    const key = `${seen.from} ${segment.sourcePort} ${segment.destinationPort}`;
    const connection = this.#connections.get(key);
    if (connection) {
      connection.receive(segment);
      return;
    }
    this.#takeStray(seen, segment);
  }

  #takeStray(seen: Seen, segment: ParsedTcp): void {
    const accept = this.#listeners.get(segment.destinationPort);
    if (accept && segment.flags === 'S') {
      const connection = this.#make(seen.from, segment.destinationPort, segment.sourcePort, {});
      accept(connection);
      connection.acceptSyn(segment);
      return;
    }
    this.onPacket(seen);
    if (segment.flags.includes('R') || !this.answersStrays) return;
    const ends = this.ends(seen.from);
    const ports = { sourcePort: segment.destinationPort, destinationPort: segment.sourcePort };
    const length = segment.data.length + (/[SF]/.test(segment.flags) ? 1 : 0);
    if (segment.flags.includes('A'))
      this.sendFrame(tcpFrame(ends, { ...ports, seq: segment.ack, flags: 'R' }));
    else this.sendFrame(tcpFrame(ends, { ...ports, seq: 0, ack: segment.seq + length, flags: 'RA' }));
  }

  #make(remote: Uint8Array, local: number, port: number, options: GuestTcpOptions): GuestTcp {
    this.#isn = (this.#isn + 64_021) >>> 0;
    const key = `${remote} ${port} ${local}`;
    const connection = new GuestTcp(
      this.#options.clock,
      { local, remote: port },
      (fields) => {
        this.sendFrame(tcpFrame(this.ends(remote), fields));
        if (connection.state === 'closed') this.#connections.delete(key);
      },
      this.#isn,
      { ...this.#options.tcp, ...options },
    );
    this.#connections.set(key, connection);
    return connection;
  }

  /** The guest is gone, and its connections with it. */
  stop(): void {
    for (const connection of this.#connections.values()) connection.forget();
  }

  /** Forgets connections that are closed, so that their ports can be used again. */
  sweep(): void {
    for (const [key, { state }] of this.#connections) if (state === 'closed') this.#connections.delete(key);
  }

  #takePort(): number {
    this.#nextPort = this.#nextPort >= 60_999 ? 32_768 : this.#nextPort + 1;
    return this.#nextPort;
  }
}
