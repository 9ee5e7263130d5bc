/**
 * The DHCP server of the guest's network (RFC 2131): the first client gets the guest's address, others the ones behind it. Leases
 * are for a day and never run out on this side; a client that comes again gets the same address.
 * Runs on: main.
 */
import type { Address } from './address.js';
import { DHCP_OPTION, DHCP_TYPE, type DhcpRequest, formatDhcpReply, parseDhcp } from './dhcp-message.js';
import { sameBytes } from './ethernet.js';

/** Seconds. */
const LEASE = 86_400;
const NOBODY = Uint8Array.of(0, 0, 0, 0);

export interface DhcpNetwork {
  readonly gateway: Address;
  readonly resolver: Address;
  /** The first address to give away; the last byte counts up from it. */
  readonly guest: Address;
  /** Bits of the network's prefix, 24 or more. */
  readonly bits: number;
  readonly mtu: number;
  readonly hostname?: string | undefined;
  readonly domain?: string | undefined;
}

const u32 = (value: number): Uint8Array =>
  Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);

export class DhcpServer {
  readonly #network: DhcpNetwork;
  readonly #leases = new Map<string, Address>();

  constructor(network: DhcpNetwork) {
    this.#network = network;
  }

  /** The address that was given out last, or the one that would be first. */
  get guest(): Address {
    return [...this.#leases.values()].at(-1) ?? this.#network.guest;
  }

  /** @returns the answer, and whose it is; undefined when there is none to give */
  answer(message: Uint8Array): { bytes: Uint8Array; request: DhcpRequest; address: Address } | undefined {
    const request = parseDhcp(message);
    if (!request) return;
    switch (request.type) {
      case DHCP_TYPE.DISCOVER: {
        const address = this.#lease(request);
        return address && this.#reply(request, DHCP_TYPE.OFFER, address);
      }
      case DHCP_TYPE.REQUEST:
        return this.#confirm(request);
      case DHCP_TYPE.INFORM:
        return this.#reply(request, DHCP_TYPE.ACK, NOBODY);
      case DHCP_TYPE.RELEASE:
        this.#leases.delete(request.client);
        return;
      default:
        return; // a decline: there is no other machine that could have the address
    }
  }

  #confirm(request: DhcpRequest): ReturnType<DhcpServer['answer']> {
    const server = request.options.get(DHCP_OPTION.SERVER);
    if (server && !sameBytes(server, this.#network.gateway)) {
      this.#leases.delete(request.client); // it took another server's offer
      return;
    }
    const wanted = request.options.get(DHCP_OPTION.REQUESTED_ADDRESS) ?? request.current;
    const address = this.#lease(request);
    if (!address || !sameBytes(wanted, address)) return this.#reply(request, DHCP_TYPE.NAK, NOBODY);
    return this.#reply(request, DHCP_TYPE.ACK, address);
  }

  #lease({ client }: DhcpRequest): Address | undefined {
    const known = this.#leases.get(client);
    if (known) return known;
    const taken = [...this.#leases.values()];
    const { guest, bits } = this.#network;
    const last = (guest[3]! | (0xff >>> (bits - 24))) - 1; // the one before the broadcast address
    for (let number = guest[3]!; number <= last; number += 1) {
      const address = Uint8Array.of(guest[0]!, guest[1]!, guest[2]!, number);
      if (taken.some((other) => sameBytes(other, address))) continue;
      this.#leases.set(client, address);
      return address;
    }
    return;
  }

  #reply(request: DhcpRequest, type: number, address: Address): ReturnType<DhcpServer['answer']> {
    const { gateway } = this.#network;
    const options: [number, Uint8Array][] = [
      [DHCP_OPTION.TYPE, Uint8Array.of(type)],
      [DHCP_OPTION.SERVER, gateway],
    ];
    if (type !== DHCP_TYPE.NAK) options.push(...this.#configuration());
    if (type !== DHCP_TYPE.NAK && request.type !== DHCP_TYPE.INFORM) {
      options.push([DHCP_OPTION.LEASE_TIME, u32(LEASE)]);
      options.push([DHCP_OPTION.RENEWAL, u32(LEASE / 2)], [DHCP_OPTION.REBINDING, u32((LEASE * 7) / 8)]);
    }
    return { bytes: formatDhcpReply(request, { address, server: gateway, options }), request, address };
  }

  #configuration(): [number, Uint8Array][] {
    const { gateway, resolver, bits, mtu, hostname, domain, guest } = this.#network;
    const mask = (0xffff_ffff << (32 - bits)) >>> 0;
    const base = new DataView(guest.buffer, guest.byteOffset, 4).getUint32(0);
    const text = (value: string): Uint8Array => new TextEncoder().encode(value).subarray(0, 255);
    const options: [number, Uint8Array][] = [
      [DHCP_OPTION.SUBNET_MASK, u32(mask)],
      [DHCP_OPTION.BROADCAST, u32((base | ~mask) >>> 0)],
      [DHCP_OPTION.ROUTER, gateway],
      [DHCP_OPTION.DNS, resolver],
      [DHCP_OPTION.MTU, Uint8Array.of(mtu >>> 8, mtu & 0xff)],
    ];
    if (hostname) options.push([DHCP_OPTION.HOST_NAME, text(hostname)]);
    if (domain) options.push([DHCP_OPTION.DOMAIN, text(domain)]);
    return options;
  }
}
