/** The addresses of a guest's network, from its options. Runs on: main. */
import { ConfigError, type ConfigIssue } from '../../base/errors.js';
import { type Address, parseAddress } from './address.js';

export interface NetworkPlan {
  readonly gateway: Address;
  readonly resolver: Address;
  /** The first guest's. */
  readonly guest: Address;
  readonly bits: number;
  readonly mtu: number;
  /** undefined: no IPv6. */
  readonly v6:
    | {
        readonly prefix: Uint8Array;
        readonly router: Address;
        readonly gateway: Address;
        readonly resolver: Address;
      }
    | undefined;
  readonly hostname: string | undefined;
  readonly domain: string | undefined;
}

/** RFC 8200 §5: the least that every link of IPv6 carries. */
const MIN_MTU = 1280;
const MAX_MTU = 65_535;
/** A unique local prefix (RFC 4193): programs prefer IPv4 to it (RFC 6724), so that a host without IPv6 is no trouble. */
const PREFIX = 'fd74:7970:6576::';
const HOST_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/;

export interface PlanOptions {
  readonly subnet?: string | undefined;
  readonly ipv6?: boolean | undefined;
  readonly mtu?: number | undefined;
  readonly hostname?: string | undefined;
  readonly domain?: string | undefined;
}

/** @throws ConfigError that names every option that is wrong */
export function plan(options: PlanOptions): NetworkPlan {
  const issues: ConfigIssue[] = [];
  const { subnet = '10.0.2.0/24', ipv6 = true, mtu = 1500, hostname, domain } = options;
  if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > MAX_MTU) {
    issues.push({ path: 'mtu', message: `must be ${MIN_MTU} to ${MAX_MTU}, not ${mtu}` });
  }
  for (const [path, name] of [
    ['hostname', hostname],
    ['domain', domain],
  ] as const) {
    if (name !== undefined && !HOST_NAME.test(name))
      issues.push({ path, message: `"${name}" is not a name` });
  }
  const network = parseSubnet(subnet);
  if (typeof network === 'string') issues.push({ path: 'subnet', message: network });
  if (issues.length > 0 || typeof network === 'string') throw new ConfigError(issues);
  const { base, bits } = network;
  const at = (number: number): Address => Uint8Array.of(base[0]!, base[1]!, base[2]!, base[3]! + number);
  const prefix = parseAddress(PREFIX)!;
  const v6 = (number: number): Address => prefix.with(15, number);
  return {
    gateway: at(2),
    resolver: at(3),
    guest: at(bits <= 27 ? 15 : 4),
    bits,
    mtu,
    v6: ipv6
      ? { prefix: prefix.subarray(0, 8), router: parseAddress('fe80::2')!, gateway: v6(2), resolver: v6(3) }
      : undefined,
    hostname,
    domain,
  };
}

function parseSubnet(text: string): { base: Address; bits: number } | string {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const base = match && parseAddress(match[1]!);
  const bits = Number(match?.[2]);
  if (base?.length !== 4) return `"${text}" is no IPv4 network such as 10.0.2.0/24`;
  if (bits < 24 || bits > 28) return `"${text}" must have 24 to 28 bits`;
  if ((base[3]! & (0xff >>> (bits - 24))) !== 0) return `"${text}" has bits set behind its ${bits}`;
  return { base, bits };
}
