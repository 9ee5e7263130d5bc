/** A guest's TCP and ours on one virtual wire in virtual time, with all the faults one wants. */

import { IpOutput } from '../../../src/backends/user-net/ip-output.js';
import { isFragment } from '../../../src/backends/user-net/ip-packet.js';
import { parseIpv4 } from '../../../src/backends/user-net/ipv4.js';
import { Link } from '../../../src/backends/user-net/link.js';
import { Neighbours } from '../../../src/backends/user-net/neighbours.js';
import type { Connection } from '../../../src/backends/user-net/tcp/connection.js';
import { TcpEndpoint } from '../../../src/backends/user-net/tcp/endpoint.js';
import type { TcpUser } from '../../../src/backends/user-net/tcp/ends.js';
import type { VnetHeader } from '../../../src/devices/net/backend.js';
import { Random } from '../random.js';
import type { GuestTcpOptions } from './guest-tcp.js';
import { LossyWire, type WireFaults } from './lossy-wire.js';
import { SimGuest } from './sim-guest.js';
import { VirtualClock } from './virtual-clock.js';

export interface TcpBenchOptions {
  readonly faults?: WireFaults;
  readonly seed?: number;
  readonly offloads?: boolean;
  readonly mtu?: number;
  readonly guest?: GuestTcpOptions;
  /** Decides what becomes of a guest's connection; accepted with `TestUser` by default. */
  readonly incoming?: (connection: Connection) => void;
  readonly isn?: number;
}

interface Carried {
  readonly frame: Uint8Array;
  readonly header: VnetHeader | undefined;
}

/** Stands for the host's side: keeps what came, and can be slow. */
export class TestUser implements TcpUser {
  readonly connection: Connection;
  onData: (bytes: Uint8Array) => void = () => {};
  onEnded: () => void = () => {};
  onDrained: () => void = () => {};
  how: string | undefined;
  hasEnded = false;
  isEstablished = false;
  pending = 0;
  mostPending = 0;
  /** While true, nothing is consumed. */
  stalled = false;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  established(): void {
    this.isEstablished = true;
  }

  data(bytes: Uint8Array): void {
    this.onData(bytes.slice());
    if (this.stalled) this.pending += bytes.length;
    this.mostPending = Math.max(this.mostPending, this.pending);
  }

  /** Goes on after `stalled`. */
  consume(): void {
    this.stalled = false;
    this.pending = 0;
    this.connection.consumed();
  }

  ended(): void {
    this.hasEnded = true;
    this.onEnded();
  }

  drained(): void {
    this.onDrained();
  }

  closed(how: 'ended' | 'reset' | 'timeout'): void {
    if (this.how) throw new Error('closed twice');
    this.how = how;
  }
}

export class TcpBench {
  readonly clock = new VirtualClock();
  readonly guest: SimGuest;
  readonly endpoint: TcpEndpoint;
  readonly users: TestUser[] = [];
  readonly toGuest: LossyWire<Carried>;
  readonly fromGuest: LossyWire<Uint8Array>;
  onUser: (user: TestUser) => void = () => {};

  constructor({
    faults = {},
    seed = 1,
    offloads = false,
    mtu = 1500,
    guest,
    incoming,
    isn,
  }: TcpBenchOptions = {}) {
    const { clock } = this;
    const random = new Random(seed);
    const link = new Link(Uint8Array.of(2, 0x54, 0x56, 0, 0, 1));
    const neighbours = new Neighbours(clock, () => {});
    const output = new IpOutput(link, neighbours, mtu);
    this.fromGuest = new LossyWire(clock, random, faults, (frame) => this.#take(frame), spoil);
    this.toGuest = new LossyWire<Carried>(
      clock,
      random,
      faults,
      ({ frame, header }) => this.guest.receive(frame, header),
      (item, chance) => ({ ...item, frame: item.header ? item.frame : spoil(item.frame, chance) }),
    );
    this.guest = new SimGuest({
      clock,
      send: (frame) => void this.fromGuest.send(frame),
      ...(guest && { tcp: guest }),
      ...(isn !== undefined && { isn }),
    });
    link.attach((frame, header) => this.toGuest.send({ frame: frame.slice(), header }));
    this.toGuest.onRoom = () => this.endpoint.resume();
    neighbours.learn(this.guest.address, this.guest.mac);
    this.endpoint = new TcpEndpoint({
      clock,
      output,
      offloads,
      incoming: incoming ?? ((one) => this.accept(one)),
    });
  }

  accept(connection: Connection): TestUser {
    const user = new TestUser(connection);
    this.users.push(user);
    this.onUser(user);
    connection.accept(user);
    return user;
  }

  /** Opens a connection to the guest. */
  connect(port: number, fromPort = 40_000): TestUser {
    const holder: { user?: TestUser } = {};
    const proxy: TcpUser = {
      established: () => holder.user!.established(),
      data: (bytes) => holder.user!.data(bytes),
      get pending() {
        return holder.user?.pending ?? 0;
      },
      ended: () => holder.user!.ended(),
      drained: () => holder.user!.drained(),
      closed: (how) => holder.user!.closed(how),
    };
    const path = {
      guest: this.guest.address,
      guestPort: port,
      remote: Uint8Array.of(10, 0, 2, 2),
      remotePort: fromPort,
    };
    holder.user = new TestUser(this.endpoint.connect(path, proxy)!);
    this.users.push(holder.user);
    return holder.user;
  }

  #take(frame: Uint8Array): void {
    const packet = parseIpv4(frame.subarray(14), false);
    if (packet && !isFragment(packet) && packet.protocol === 6) this.endpoint.receive(packet);
  }
}

/** One bit of a frame, behind its Ethernet header. */
function spoil(frame: Uint8Array, random: Random): Uint8Array {
  const spoilt = frame.slice();
  const at = 14 + random.below(frame.length - 14);
  spoilt[at] = spoilt[at]! ^ (1 << random.below(8));
  return spoilt;
}
