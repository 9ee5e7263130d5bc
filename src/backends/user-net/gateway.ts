/**
 * The gateway: reads every frame of the guest's, checks whose it is, and gives it to who answers. What claims an address outside of
 * the guest's network is dropped and counted.
 * Runs on: main.
 */
import type { VnetHeader } from '../../devices/net/backend.js';
import { type Address, isMulticast } from './address.js';
import { askArp, handleArp } from './arp.js';
import type { Clock } from './clock.js';
import { DhcpServer } from './dhcp-server.js';
import { DnsOverTcp } from './dns-over-tcp.js';
import { DnsServer } from './dns-server.js';
import { ETHER_TYPE, ETHERNET_HEADER } from './ethernet.js';
import { GuestNetwork } from './guest-network.js';
import { CertificatePage } from './http/certificate-page.js';
import type { HttpReader } from './http/reader.js';
import { Icmp } from './icmp.js';
import { IpOutput } from './ip-output.js';
import { type IpFragment, type IpPacket, isFragment, PROTOCOL } from './ip-packet.js';
import { parseIpv4 } from './ipv4.js';
import { parseIpv6 } from './ipv6.js';
import { Link } from './link.js';
import { type DiscoveryHost, handleDiscovery, isDiscovery, solicit } from './neighbour-discovery.js';
import { Neighbours } from './neighbours.js';
import type { NetDecision, NetPolicy } from './net-policy.js';
import { OwnAddresses } from './own-addresses.js';
import type { NetworkPlan } from './plan.js';
import { Policy } from './policy.js';
import { Reassembly } from './reassembly.js';
import type { Connection } from './tcp/connection.js';
import { TcpEndpoint } from './tcp/endpoint.js';
import { TcpOutgoing } from './tcp-outgoing.js';
import { UdpForwards } from './udp-forwards.js';
import { DNS_PORT, UdpInput } from './udp-input.js';
import { UdpRelay } from './udp-relay.js';

/** Locally administered; the letters are "TV". */
const MAC = Uint8Array.of(0x02, 0x54, 0x56, 0, 0, 1);
const HTTP_PORT = 80;
/** VIRTIO_NET_HDR_F_NEEDS_CSUM, virtio 1.2 §5.1.6. */
const NEEDS_CSUM = 1;

export interface GatewayOptions {
  readonly policy: NetPolicy;
  readonly clock: Clock;
  readonly offloads: boolean;
  readonly decided: (decision: NetDecision) => void;
  /** Reads HTTP, if anybody wants to know. */
  readonly reader: HttpReader | undefined;
}

export class Gateway {
  readonly link = new Link(MAC);
  readonly tcp: TcpEndpoint;
  readonly udpForwards: UdpForwards;
  readonly #plan: NetworkPlan;
  readonly #network: GuestNetwork;
  readonly #policy: Policy;
  readonly #neighbours: Neighbours;
  readonly #output: IpOutput;
  readonly #icmp: Icmp;
  readonly #reassembly: Reassembly;
  readonly #dhcp: DhcpServer;
  readonly #dns: DnsServer;
  readonly #outgoing: TcpOutgoing;
  readonly #reader: HttpReader | undefined;
  readonly #udp: UdpRelay;
  readonly #input: UdpInput;
  readonly #discovery: DiscoveryHost | undefined;
  #closed = false;

  constructor(plan: NetworkPlan, { policy, clock, offloads, decided, reader }: GatewayOptions) {
    const { gateway, v6 } = plan;
    const network = new GuestNetwork(plan);
    this.#plan = plan;
    this.#network = network;
    const own = new OwnAddresses(clock);
    this.#policy = new Policy(policy, {
      clock,
      decided,
      isOwn: (address) => own.has(address),
      isGateway: (address) => network.isGateway(address),
      isInside: (address) => network.isInside(address),
      isUnreadable: (flow) => reader?.cannotRead(flow) ?? false,
    });
    this.#neighbours = new Neighbours(clock, (address) => this.#ask(address));
    this.#output = new IpOutput(this.link, this.#neighbours, plan.mtu);
    this.#icmp = new Icmp(this.#output, clock);
    this.#reassembly = new Reassembly(clock);
    this.#dhcp = new DhcpServer(plan);
    this.#dns = new DnsServer(this.#policy);
    this.#reader = reader;
    this.#outgoing = new TcpOutgoing(this.#policy, reader);
    const output = this.#output;
    this.#udp = new UdpRelay({ clock, gate: this.#policy, output, icmp: this.#icmp });
    this.udpForwards = new UdpForwards({
      ...{ clock, output, gateway },
      guest: () => this.guest,
      isTaken: (key) => this.#udp.has(key),
    });
    this.#input = new UdpInput({
      ...{ network, gateway, output, icmp: this.#icmp, dhcp: this.#dhcp, dns: this.#dns },
      take: (datagram) => {
        if (!this.udpForwards.take(datagram)) this.#udp.take(datagram);
      },
    });
    this.tcp = new TcpEndpoint({
      clock,
      output,
      offloads,
      incoming: (connection) => this.#incoming(connection),
    });
    this.#discovery = v6 && {
      ...{ link: this.link, output, neighbours: this.#neighbours, icmp: this.#icmp },
      ...{ router: v6.router, resolver: v6.resolver, prefix: v6.prefix },
      isOurs: (address) => network.isOurs(address),
      isGuest: (address) => network.isGuest(address),
    };
  }

  /** The guest's address, as DHCP gave it. */
  get guest(): Address {
    return this.#dhcp.guest;
  }

  /** Takes a frame, which may be kept. */
  receive(frame: Uint8Array, header?: VnetHeader): void {
    if (this.#closed || !this.link.accepts(frame)) return;
    const type = (frame[12]! << 8) | frame[13]!;
    const partial = header !== undefined && (header.flags & NEEDS_CSUM) !== 0;
    const packet = frame.subarray(ETHERNET_HEADER);
    const sound =
      type === ETHER_TYPE.IPV4
        ? this.#receivePacket(parseIpv4(packet, partial), frame)
        : type === ETHER_TYPE.IPV6 && this.#discovery
          ? this.#receivePacket(parseIpv6(packet, partial), frame)
          : type === ETHER_TYPE.ARP && this.#receiveArp(frame);
    if (!sound) this.link.stats.dropped += 1;
  }

  update(policy: NetPolicy): void {
    this.#policy.update(policy);
    this.#outgoing.review();
    this.#udp.review();
  }

  stats() {
    const { framesIn, bytesIn, framesOut, bytesOut, dropped } = this.link.stats;
    const open = { tcpConnections: this.tcp.count, udpFlows: this.#udp.count + this.udpForwards.count };
    return { framesIn, bytesIn, framesOut, bytesOut, dropped: dropped + this.tcp.damaged, ...open };
  }

  close(): void {
    this.#closed = true;
    this.link.detach();
    this.#outgoing.close();
    this.tcp.close();
    this.#udp.close();
    this.udpForwards.close();
    this.#input.close();
    this.#dns.close();
    void this.#reader?.close();
    this.#neighbours.close();
  }

  #receivePacket(parsed: IpPacket | IpFragment | undefined, frame: Uint8Array): boolean {
    if (!parsed) return false;
    const sender = frame.slice(6, 12);
    const isGuest = this.#network.isGuest(parsed.source);
    if (isGuest) this.#neighbours.learn(parsed.source, sender);
    else if (!this.#network.isNewcomer(parsed)) return false; // an address that is not the guest's to use
    const packet = isFragment(parsed) ? this.#reassembly.add(parsed) : parsed;
    if (!packet) return true;
    switch (packet.protocol) {
      case PROTOCOL.TCP:
        if (isGuest && !isMulticast(packet.destination)) this.tcp.receive(packet);
        return isGuest;
      case PROTOCOL.UDP:
        return this.#input.receive(packet);
      case PROTOCOL.ICMP:
      case PROTOCOL.ICMPV6:
        return this.#receiveIcmp(packet, sender);
      default:
        this.#icmp.unreachable(packet, 'prohibited');
        return true;
    }
  }

  #receiveArp(frame: Uint8Array): boolean {
    return handleArp(frame, {
      link: this.link,
      neighbours: this.#neighbours,
      isOurs: (address) => this.#network.isOurs(address),
      isGuest: (address) => this.#network.isGuest(address),
    });
  }

  #receiveIcmp(packet: IpPacket, sender: Uint8Array): boolean {
    const v6 = packet.source.length === 16;
    if ((packet.protocol === PROTOCOL.ICMPV6) !== v6 || !Icmp.isSound(packet)) return false;
    if (v6 && isDiscovery(packet)) return handleDiscovery(packet, sender, this.#discovery!);
    if (!this.#icmp.isEchoRequest(packet)) return true;
    if (this.#network.isOurs(packet.destination)) this.#icmp.echo(packet);
    else this.#icmp.unreachable(packet, 'prohibited');
    return true;
  }

  #incoming(connection: Connection): void {
    const { remote, remotePort } = connection.path;
    if (!this.#network.isResolver(remote)) this.#outgoing.take(connection).catch(() => connection.abort());
    else if (remotePort === DNS_PORT) connection.accept(new DnsOverTcp(connection, this.#dns));
    else if (remotePort === HTTP_PORT && this.#reader) {
      const reader = this.#reader;
      connection.accept(new CertificatePage(connection, () => reader.certificate()));
    } else connection.abort();
  }

  #ask(address: Address): void {
    if (address.length === 4) askArp(this.link, this.#plan.gateway, address);
    else if (this.#discovery) solicit(this.#discovery, address);
  }
}
