/**
 * One line of a list that allows or denies:
 *
 *   [tcp:|udp:] HOST [:PORT | :FIRST-LAST]
 *
 * HOST is `*`, a name, `*.name` for what is below it, an address, a network `10.0.0.0/8`, `[2001:db8::]/32`, or `host`: the
 * machine that runs the monitor, which the guest reaches at its gateway's address.
 * Runs on: main.
 */
import ipaddr from 'ipaddr.js';
import { type Address, parseAddress } from './address.js';
import { type AddressKind, kindOf } from './address-kind.js';

export interface Rule {
  /** As it was written. */
  readonly text: string;
  readonly proto: 'tcp' | 'udp' | undefined;
  readonly ports: readonly [first: number, last: number] | undefined;
  readonly host:
    | { readonly is: 'any' }
    | { readonly is: 'gateway' }
    | { readonly is: 'name'; readonly test: (name: string) => boolean }
    | { readonly is: 'network'; readonly base: Address; readonly bits: number };
}

/** Letters, digits, hyphens (RFC 1123 §2.1), and underscores, which names of services have; other letters come as `xn--`. */
const NAME = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** @param name in lower case, without a dot at its end */
export const isHostName = (name: string): boolean => NAME.test(name);

/** @throws RangeError that says what is wrong, to be read after the entry's path */
export function parseRule(entry: string | RegExp): Rule {
  if (entry instanceof RegExp) {
    // A flag g or y would make its answers depend on those before.
    const pattern = new RegExp(entry.source, entry.flags.replace(/[gy]/g, ''));
    const test = (name: string): boolean => pattern.test(name);
    return { text: String(entry), proto: undefined, ports: undefined, host: { is: 'name', test } };
  }
  if (typeof entry !== 'string') throw new RangeError('expected a text or a regular expression');
  const [, proto, rest] = /^(?:(tcp|udp):)?(.*)$/s.exec(entry.trim()) as unknown as [
    string,
    'tcp' | 'udp',
    string,
  ];
  const { host, port } = splitPort(rest);
  return {
    text: entry,
    proto: proto || undefined,
    ports: parsePorts(port, entry),
    host: parseHost(host, entry),
  };
}

function splitPort(text: string): { host: string; port: string | undefined } {
  const bracketed = /^\[([^\]]*)\](\/\d+)?(?::(.*))?$/.exec(text);
  if (bracketed) return { host: `${bracketed[1]}${bracketed[2] ?? ''}`, port: bracketed[3] };
  const colons = text.split(':').length - 1;
  if (colons !== 1) return { host: text, port: undefined }; // a bare IPv6 address has no port
  const [host, port] = text.split(':');
  return { host: host!, port };
}

function parsePorts(text: string | undefined, entry: string): Rule['ports'] {
  if (text === undefined || text === '*') return;
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
  if (!match || first < 1 || last > 65_535 || first > last) {
    throw new RangeError(`"${entry}": "${text}" is no port from 1 to 65535, nor a range of them`);
  }
  return [first, last];
}

function parseHost(text: string, entry: string): Rule['host'] {
  if (text === '*') return { is: 'any' };
  if (text === 'host') return { is: 'gateway' };
  const [address, bits, ...more] = text.split('/');
  const parsed = parseAddress(address!);
  if (parsed && more.length === 0) {
    const most = parsed.length * 8;
    if (bits === undefined) return { is: 'network', base: parsed, bits: most };
    if (!/^\d{1,3}$/.test(bits) || Number(bits) > most) {
      throw new RangeError(`"${entry}": a network of this kind has 0 to ${most} bits, not ${bits}`);
    }
    const base = masked(parsed, Number(bits));
    if (String(base) !== String(parsed)) {
      throw new RangeError(
        `"${entry}" has bits set behind its ${bits}; the network is ${shown(base)}/${bits}`,
      );
    }
    return { is: 'network', base, bits: Number(bits) };
  }
  const name = text.toLowerCase().replace(/\.$/, '');
  // Numbers and dots that are no address would never match a name.
  if (!isHostName(name.replace(/^\*\./, '')) || /^[\d.]+$/.test(name) || /^0x/.test(name)) {
    throw new RangeError(`"${entry}" is not a name, an address or a network`);
  }
  if (!name.startsWith('*.')) return { is: 'name', test: (other) => other === name };
  const suffix = name.slice(1);
  return { is: 'name', test: (other) => other.endsWith(suffix) };
}

const shown = (address: Address): string => ipaddr.fromByteArray(Array.from(address)).toString();

/** The address with what is behind its first `bits` cleared, or set. */
function masked(address: Address, bits: number, fill = 0): Address {
  return address.map((byte, index) => {
    const own = Math.min(Math.max(bits - index * 8, 0), 8);
    const mask = (0xff << (8 - own)) & 0xff;
    return (byte & mask) | (fill & ~mask & 0xff);
  });
}

/** Something to be judged by rules. */
export interface Subject {
  readonly proto: 'tcp' | 'udp' | undefined; // undefined: of either
  readonly port: number | undefined; // undefined: any
  readonly address: Address | undefined;
  /** Names that the guest was told the address by. */
  readonly names: readonly string[];
  /** It is the host itself, by the gateway's address. */
  readonly isGateway: boolean;
}

export function matches(rule: Rule, subject: Subject): boolean {
  if (rule.proto && subject.proto && rule.proto !== subject.proto) return false;
  if (rule.ports && subject.port !== undefined) {
    if (subject.port < rule.ports[0] || subject.port > rule.ports[1]) return false;
  }
  switch (rule.host.is) {
    case 'any':
      return true;
    case 'gateway':
      return subject.isGateway;
    case 'name':
      return subject.names.some(rule.host.test);
    case 'network':
      return subject.address !== undefined && contains(rule.host, subject.address);
  }
}

const contains = ({ base, bits }: { base: Address; bits: number }, address: Address): boolean =>
  address.length === base.length && String(masked(address, bits)) === String(base);

/**
 * Whether a rule names an address that is not public, as it must to allow it: a network all of which is of that kind, or the
 * address itself. `*` and `0.0.0.0/0` mean the world, not the host's loopback.
 */
export function names(rule: Rule, address: Address, kind: AddressKind): boolean {
  if (rule.host.is !== 'network' || !contains(rule.host, address)) return false;
  const { base, bits } = rule.host;
  return kindOf(base) === kind && kindOf(masked(base, bits, 0xff)) === kind;
}

/** Whether a rule names exactly this address. */
export const namesExactly = ({ host }: Rule, address: Address): boolean =>
  host.is === 'network' && host.bits === host.base.length * 8 && contains(host, address);
