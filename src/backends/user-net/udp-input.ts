/** The guest's datagrams: DHCP and DNS are answered here, the others go to whoever takes them. Runs on: main. */
import { type Address, isMulticast } from './address.js';
import { DHCP_PORT } from './dhcp-message.js';
import type { DhcpServer } from './dhcp-server.js';
import type { DnsServer } from './dns-server.js';
import { BROADCAST, sameBytes } from './ethernet.js';
import type { GuestNetwork } from './guest-network.js';
import type { Icmp } from './icmp.js';
import type { IpOutput } from './ip-output.js';
import type { IpPacket } from './ip-packet.js';
import { type Datagram, parseUdp, sendUdp } from './udp.js';

export const DNS_PORT = 53;
const NOBODY = Uint8Array.of(0, 0, 0, 0);
const EVERYBODY = Uint8Array.of(255, 255, 255, 255);

export interface UdpInputOptions {
  readonly network: GuestNetwork;
  readonly gateway: Address;
  readonly output: IpOutput;
  readonly icmp: Icmp;
  readonly dhcp: DhcpServer;
  readonly dns: DnsServer;
  /** A datagram of the guest's to anybody else. */
  readonly take: (datagram: Datagram) => void;
}

export class UdpInput {
  readonly #options: UdpInputOptions;
  #closed = false;

  constructor(options: UdpInputOptions) {
    this.#options = options;
  }

  /** @returns false for what makes no sense, or comes from an address that is not the guest's */
  receive(packet: IpPacket): boolean {
    const { network, icmp, take } = this.#options;
    const datagram = parseUdp(packet);
    if (!datagram) return false;
    const { destination, destinationPort, source } = datagram;
    if (destinationPort === DHCP_PORT.SERVER && network.isForDhcp(destination)) {
      this.#answerDhcp(datagram);
      return true;
    }
    if (!network.isGuest(source)) return false;
    if (network.isResolver(destination)) {
      if (destinationPort === DNS_PORT)
        this.#answerDns(datagram).catch(() => icmp.unreachable(packet, 'port'));
      else icmp.unreachable(packet, 'port');
    } else if (!isMulticast(destination) && !network.isBroadcast(destination)) take(datagram);
    return true;
  }

  /** Answers that are still to come are not sent. */
  close(): void {
    this.#closed = true;
  }

  #answerDhcp({ data, packet }: Datagram): void {
    const { dhcp, gateway, output } = this.#options;
    const answer = dhcp.answer(data);
    if (!answer) return;
    const { bytes, request, address } = answer;
    const asked = !sameBytes(request.current, NOBODY);
    // To whom has no address yet, by hardware address unless it asked for a broadcast (RFC 2131 §4.1).
    const broadcast = (request.flags[0]! & 0x80) !== 0 || sameBytes(address, NOBODY);
    const destination = asked ? packet.source : broadcast ? EVERYBODY : address;
    const mac = asked ? undefined : broadcast ? BROADCAST : request.mac;
    const ports = { sourcePort: DHCP_PORT.SERVER, destinationPort: DHCP_PORT.CLIENT };
    sendUdp(output, { source: gateway, destination, ...ports, data: bytes, mac });
  }

  async #answerDns({ source, sourcePort, destination, data }: Datagram): Promise<void> {
    const answer = await this.#options.dns.answer(data, true);
    if (!answer || this.#closed) return;
    const ends = {
      source: destination,
      sourcePort: DNS_PORT,
      destination: source,
      destinationPort: sourcePort,
    };
    sendUdp(this.#options.output, { ...ends, data: answer });
  }
}
