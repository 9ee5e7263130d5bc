/** DHCP messages as bytes (RFC 2131 §2, RFC 2132). Runs on: main. */
import type { Address } from './address.js';

export const DHCP_PORT = { SERVER: 67, CLIENT: 68 } as const;
export const DHCP_TYPE = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const;
export const DHCP_OPTION = {
  SUBNET_MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOST_NAME: 12,
  DOMAIN: 15,
  MTU: 26,
  BROADCAST: 28,
  REQUESTED_ADDRESS: 50,
  LEASE_TIME: 51,
  TYPE: 53,
  SERVER: 54,
  RENEWAL: 58,
  REBINDING: 59,
  CLIENT_ID: 61,
} as const;

const FIXED = 236;
const COOKIE = [99, 130, 83, 99];
/** BOOTP's least size, which some clients insist on (RFC 1542 §2.1). */
const LEAST = 300;

export interface DhcpRequest {
  readonly type: number;
  readonly transaction: Uint8Array;
  readonly flags: Uint8Array;
  /** The address it has already, or zeroes. */
  readonly current: Address;
  readonly mac: Uint8Array;
  readonly options: ReadonlyMap<number, Uint8Array>;
  /** Who it is: its identifier, or its hardware address. */
  readonly client: string;
}

/** @returns undefined for what is no request of an Ethernet client */
export function parseDhcp(bytes: Uint8Array): DhcpRequest | undefined {
  if (bytes.length < FIXED + 4 || bytes[0] !== 1 || bytes[1] !== 1 || bytes[2] !== 6) return;
  if (!COOKIE.every((byte, index) => bytes[FIXED + index] === byte)) return;
  const options = new Map<number, Uint8Array>();
  for (let at = FIXED + 4; at < bytes.length && bytes[at] !== 255; ) {
    if (bytes[at] === 0) {
      at += 1;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (at + 2 + length > bytes.length) return;
    options.set(bytes[at]!, bytes.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  const type = options.get(DHCP_OPTION.TYPE);
  if (type?.length !== 1) return;
  const mac = bytes.slice(28, 34);
  const id = options.get(DHCP_OPTION.CLIENT_ID);
  return {
    type: type[0]!,
    transaction: bytes.slice(4, 8),
    flags: bytes.slice(10, 12),
    current: bytes.slice(12, 16),
    mac,
    options,
    client: id && id.length > 0 ? `id ${id}` : `mac ${mac}`,
  };
}

/** @param address the client's; zeroes when it is told no */
export function formatDhcpReply(
  { transaction, flags, current, mac }: DhcpRequest,
  {
    address,
    server,
    options,
  }: { address: Address; server: Address; options: readonly [number, Uint8Array][] },
): Uint8Array {
  const tail = options.flatMap(([code, value]) => [code, value.length, ...value]);
  const bytes = new Uint8Array(Math.max(LEAST, FIXED + 4 + tail.length + 1));
  bytes.set([2, 1, 6, 0]);
  bytes.set(transaction, 4);
  bytes.set(flags, 10);
  bytes.set(current, 12);
  bytes.set(address, 16);
  bytes.set(server, 20);
  bytes.set(mac, 28);
  bytes.set([...COOKIE, ...tail, 255], FIXED);
  return bytes;
}
