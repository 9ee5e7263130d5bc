/**
 * IPv6 neighbour and router discovery (RFC 4861) as the only router of the link, with what a guest needs to configure itself:
 * a prefix for stateless addresses (RFC 4862) and the resolver's address (RFC 8106).
 * Runs on: main.
 */
import type { Address } from './address.js';
import { sameBytes } from './ethernet.js';
import type { Icmp } from './icmp.js';
import type { IpOutput } from './ip-output.js';
import type { IpPacket } from './ip-packet.js';
import type { Link } from './link.js';
import type { Neighbours } from './neighbours.js';

const TYPE = { ROUTER_SOLICIT: 133, ROUTER_ADVERT: 134, SOLICIT: 135, ADVERT: 136 } as const;
const OPTION = { SOURCE_MAC: 1, TARGET_MAC: 2, PREFIX: 3, MTU: 5, RDNSS: 25 } as const;
/** All of discovery has the hop limit 255, so that no router can have passed it on (§6.1, §7.1). */
const HOPS = 255;
/** Seconds that what we advertise holds. */
const ROUTER_LIFETIME = 9_000; // the most that is allowed
const PREFIX_LIFETIME = 86_400;
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const UNSPECIFIED = new Uint8Array(16);

export interface DiscoveryHost {
  readonly link: Link;
  readonly output: IpOutput;
  readonly neighbours: Neighbours;
  readonly icmp: Icmp;
  /** The gateway's link-local address. */
  readonly router: Address;
  readonly resolver: Address;
  /** The first 8 bytes of guests' addresses. */
  readonly prefix: Uint8Array;
  isOurs(address: Address): boolean;
  isGuest(address: Address): boolean;
}

/** Takes a message of types 133 to 137 whose checksum is right. @returns whether it was sound */
export function handleDiscovery(packet: IpPacket, sender: Uint8Array, host: DiscoveryHost): boolean {
  const { payload, source, hops } = packet;
  if (hops !== HOPS || payload[1] !== 0) return false;
  switch (payload[0]) {
    case TYPE.ROUTER_SOLICIT:
      if (host.isGuest(source)) host.neighbours.learn(source, sender);
      advertiseRouter(host, sameBytes(source, UNSPECIFIED) ? ALL_NODES : source);
      return true;
    case TYPE.SOLICIT: {
      if (payload.length < 24) return false;
      const target = payload.slice(8, 24);
      if (host.isGuest(source)) host.neighbours.learn(source, sender);
      if (host.isOurs(target)) advertiseNeighbour(host, target, source);
      return true;
    }
    case TYPE.ADVERT: {
      if (payload.length < 24) return false;
      const target = payload.slice(8, 24);
      if (host.isGuest(target)) host.neighbours.learn(target, sender);
      return true;
    }
    default:
      return true; // redirects and other routers are not listened to
  }
}

export const isDiscovery = ({ payload }: IpPacket): boolean => payload[0]! >= 133 && payload[0]! <= 137;

/** Asks the guest whose `address` is (§7.2.2). */
export function solicit({ link, icmp, output, router }: DiscoveryHost, address: Address): void {
  const group = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...address.subarray(13));
  const area = output.area(address);
  area.fill(0, 0, 8);
  area[0] = TYPE.SOLICIT;
  area.set(address, 8);
  area.set([OPTION.SOURCE_MAC, 1, ...link.mac], 24);
  icmp.send(router, group, 32, HOPS);
}

function advertiseNeighbour({ link, icmp, output }: DiscoveryHost, target: Address, asker: Address): void {
  const probing = sameBytes(asker, UNSPECIFIED); // duplicate address detection: answered to all (§7.2.4)
  const destination = probing ? ALL_NODES : asker;
  const area = output.area(destination);
  area.fill(0, 0, 8);
  area[0] = TYPE.ADVERT;
  area[4] = 0x80 | (probing ? 0 : 0x40) | 0x20; // router, solicited, override
  area.set(target, 8);
  area.set([OPTION.TARGET_MAC, 1, ...link.mac], 24);
  icmp.send(target, destination, 32, HOPS);
}

/** Tells who and what the router is (§4.2). */
export function advertiseRouter(host: DiscoveryHost, destination: Address = ALL_NODES): void {
  const { link, icmp, output, router, resolver, prefix } = host;
  const area = output.area(destination);
  const message = new Uint8Array(16 + 8 + 32 + 8 + 24);
  const view = new DataView(message.buffer);
  message[0] = TYPE.ROUTER_ADVERT;
  message[4] = 64; // hop limit to use
  view.setUint16(6, ROUTER_LIFETIME);
  message.set([OPTION.SOURCE_MAC, 1, ...link.mac], 16);
  message.set([OPTION.PREFIX, 4, 64, 0xc0], 24); // on the link, and for addresses of one's own
  view.setUint32(28, PREFIX_LIFETIME);
  view.setUint32(32, PREFIX_LIFETIME);
  message.set(prefix, 40);
  message.set([OPTION.MTU, 1], 56);
  view.setUint32(60, output.mtu);
  message.set([OPTION.RDNSS, 3], 64);
  view.setUint32(68, ROUTER_LIFETIME);
  message.set(resolver, 72);
  area.set(message);
  icmp.send(router, destination, message.length, HOPS);
}
