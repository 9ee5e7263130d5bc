/** What an address is in the guest's own network: one of ours, a guest's, everybody's, or nobody's. Runs on: main. */
import { type Address, isMulticast } from './address.js';
import { sameBytes } from './ethernet.js';
import { type IpPacket, PROTOCOL } from './ip-packet.js';
import type { NetworkPlan } from './plan.js';

export class GuestNetwork {
  readonly #plan: NetworkPlan;
  readonly #own: readonly Address[];
  /** One that a guest may have, seen last: nearly every packet is from it. */
  #lastGuest: Address | undefined;

  constructor(plan: NetworkPlan) {
    const { gateway, resolver, v6 } = plan;
    this.#plan = plan;
    this.#own = [gateway, resolver, ...(v6 ? [v6.router, v6.gateway, v6.resolver] : [])];
  }

  isOurs(address: Address): boolean {
    return this.#own.some((own) => sameBytes(own, address));
  }

  /** Whether an address is the one by which the guest reaches the host. */
  isGateway(address: Address): boolean {
    const { gateway, v6 } = this.#plan;
    return sameBytes(address, gateway) || (v6 !== undefined && sameBytes(address, v6.gateway));
  }

  isResolver(address: Address): boolean {
    const { resolver, v6 } = this.#plan;
    return sameBytes(address, resolver) || (v6 !== undefined && sameBytes(address, v6.resolver));
  }

  /** Whether an address is in the guest's network, ours among them. */
  isInside(address: Address): boolean {
    const { gateway, v6 } = this.#plan;
    if (address.length === 16) {
      if (!v6) return false;
      return sameBytes(address.subarray(0, 8), v6.prefix) || sameBytes(address, v6.router);
    }
    const same = (index: number): boolean => address[index] === gateway[index];
    return same(0) && same(1) && same(2) && (address[3]! & this.#mask) === (gateway[3]! & this.#mask);
  }

  /** Whether an address is one that a guest may have. */
  isGuest(address: Address): boolean {
    if (this.#lastGuest && sameBytes(address, this.#lastGuest)) return true;
    const may = this.#mayBeGuest(address);
    if (may) this.#lastGuest = address.slice();
    return may;
  }

  #mayBeGuest(address: Address): boolean {
    if (isMulticast(address) || this.isOurs(address)) return false;
    const linkLocal = address.length === 16 && address[0] === 0xfe && address[1] === 0x80;
    return linkLocal || (this.isInside(address) && !this.isBroadcast(address));
  }

  isBroadcast(address: Address): boolean {
    return address.length === 4 && this.isInside(address) && (address[3]! | this.#mask) === 0xff;
  }

  /** Whether a packet is one that a guest without an address may send: DHCP, and discovery. */
  isNewcomer({ source, protocol }: IpPacket): boolean {
    if (source.some((byte) => byte !== 0)) return false;
    return source.length === 4 ? protocol === PROTOCOL.UDP : protocol === PROTOCOL.ICMPV6;
  }

  /** Whether the DHCP server hears what is sent there. */
  isForDhcp(address: Address): boolean {
    return sameBytes(address, this.#plan.gateway) || address.every((byte) => byte === 0xff);
  }

  /** Of an IPv4 address's last byte: networks have 24 bits at least. */
  get #mask(): number {
    return (0xff << (32 - this.#plan.bits)) & 0xff;
  }
}
