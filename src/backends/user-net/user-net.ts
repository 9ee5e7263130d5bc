/**
 * A network for a guest without any right on the host: a gateway in TypeScript that answers ARP, DHCP, router discovery and DNS,
 * and carries TCP and UDP through ordinary sockets. Nothing leaves it that the policy has not let through.
 *
 *   guest 10.0.2.15, fd74:7970:6576::/64 ── gateway 10.0.2.2, fe80::2 ── the policy ── sockets of the host
 *                                           resolver 10.0.2.3
 *
 * ICMP goes no further than the gateway, which answers for its own addresses: sending more takes rights.
 * Runs on: main. The guest is hostile: every frame is read with checks, and everything it can fill has a limit.
 */
import { EventEmitter } from 'node:events';
import { ConfigError } from '../../base/errors.js';
import type { NetBackend, Receive, VnetHeader } from '../../devices/net/backend.js';
import type { Clock } from './clock.js';
import { hostClock } from './clock.js';
import { type Forward, type ForwardOptions, Forwards } from './forwards.js';
import { Gateway } from './gateway.js';
import type { FetchHook } from './http/interceptor.js';
import { HttpReader } from './http/reader.js';
import type { NetSecret } from './http/secrets.js';
import type { NetDecision, NetPolicy } from './net-policy.js';
import { plan } from './plan.js';

export interface UserNetOptions extends NetPolicy {
  /** The guest's network, `10.0.2.0/24` unless given: 24 to 28 bits. Gateway .2, resolver .3, guest .15 or, if it is small, .4. */
  readonly subnet?: string | undefined;
  /** Whether the guest gets IPv6 too. Default true. */
  readonly ipv6?: boolean | undefined;
  /** Largest packet, bytes: 1280 to 65535, default 1500. */
  readonly mtu?: number | undefined;
  /** The guest's card's address. */
  readonly mac?: string | undefined;
  /** What DHCP tells the guest it is called, and its domain. */
  readonly hostname?: string | undefined;
  readonly domain?: string | undefined;
  /**
   * Sees every HTTP request to port 80 and HTTPS request to port 443 that the policy lets through: answers it, or leaves it alone by
   * returning undefined. The guest must trust `certificate()`.
   */
  readonly fetch?: FetchHook | undefined;
  /** Secrets by name: the guest has `placeholders`, and HTTPS requests to their hosts carry the values. */
  readonly secrets?: Readonly<Record<string, NetSecret>> | undefined;
  /** Certificates that HTTPS servers may have beside those that Node trusts, PEM; with `fetch` or `secrets`. */
  readonly trust?: string | undefined;
  /** For tests. */
  readonly clock?: Clock | undefined;
  /** Whether the guest's card may fill in checksums and cut segments. Default true; for tests. */
  readonly offloads?: boolean | undefined;
}

/** What a network tells of. */
export interface UserNetEvents {
  /** The policy said yes or no. */
  decision: [NetDecision];
}

/** Counters since the network was made, and what is open now. */
export interface UserNetStats {
  /** From the guest. */
  readonly framesIn: number;
  /** From the guest. */
  readonly bytesIn: number;
  /** To the guest. */
  readonly framesOut: number;
  /** To the guest. */
  readonly bytesOut: number;
  /** Frames from the guest that made no sense, or claimed an address that is not the guest's. */
  readonly dropped: number;
  /** Open now, those that are being opened among them. */
  readonly tcpConnections: number;
  /** Open now. */
  readonly udpFlows: number;
}

/** A network that needs no rights, as the back end of a card. */
export class UserNet extends EventEmitter<UserNetEvents> implements NetBackend {
  readonly mac: string | undefined;
  readonly mtu: number;
  readonly offloads: boolean;
  readonly #gateway: Gateway;
  readonly #forwards: Forwards;
  readonly #reader: HttpReader | undefined;

  /** @throws ConfigError with the path of every option that is wrong */
  constructor(options: UserNetOptions = {}) {
    super();
    const network = plan(options);
    this.mac = options.mac;
    this.mtu = network.mtu;
    this.offloads = options.offloads ?? true;
    this.#reader = makeReader(options, (decision) => this.emit('decision', decision));
    this.#gateway = new Gateway(network, {
      reader: this.#reader,
      policy: options,
      clock: options.clock ?? hostClock,
      offloads: this.offloads,
      decided: (decision) => this.emit('decision', decision),
    });
    this.#forwards = new Forwards({
      endpoint: this.#gateway.tcp,
      udp: this.#gateway.udpForwards,
      gateway: network.gateway,
      guest: () => this.#gateway.guest,
    });
  }

  send(frame: Uint8Array, header?: VnetHeader): void {
    this.#gateway.receive(frame, header);
  }

  onReceive(receive: Receive): void {
    this.#gateway.link.attach(receive);
  }

  room(): void {
    this.#gateway.tcp.resume();
  }

  async close(): Promise<void> {
    this.#gateway.close();
    await this.#forwards.close();
  }

  /** Lets a port of the host lead to the guest. @throws HostError when the port cannot be had */
  forward(options: ForwardOptions): Promise<Forward> {
    return this.#forwards.add(options);
  }

  /** The forwards that listen. */
  get forwards(): readonly Forward[] {
    return this.#forwards.list;
  }

  /**
   * Changes the policy: what is given replaces what was, `undefined` removes it. Connections that the new lists do not allow are cut.
   * @throws ConfigError; then nothing has changed
   */
  update(policy: NetPolicy): void {
    this.#gateway.update(policy);
  }

  /** For each secret what the guest uses in its place: good for its environment. */
  get placeholders(): Readonly<Record<string, string>> {
    return this.#reader?.secrets.placeholders ?? {};
  }

  /**
   * The certificate, PEM, that a guest must trust if its HTTPS is read; it finds it at http://10.0.2.3/ too.
   * @returns undefined when nothing is read
   */
  async certificate(): Promise<string | undefined> {
    return this.#reader?.certificate();
  }

  /** Counters, as of now. */
  stats(): UserNetStats {
    return this.#gateway.stats();
  }
}

/** @throws ConfigError */
function makeReader(
  { fetch, secrets, trust, clock = hostClock }: UserNetOptions,
  decided: (decision: NetDecision) => void,
): HttpReader | undefined {
  if (fetch === undefined && secrets === undefined) return;
  if (fetch !== undefined && typeof fetch !== 'function') {
    throw new ConfigError([{ path: 'fetch', message: 'must be a function' }]);
  }
  try {
    return new HttpReader({ fetch, secrets, trust, clock, decided });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const [path, ...rest] = error.message.split(': ');
    throw new ConfigError([{ path: `secrets.${path}`, message: rest.join(': ') }], { cause: error });
  }
}
