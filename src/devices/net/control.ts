/**
 * Commands of the control queue (virtio 1.2 §5.1.6.5): taken apart here, obeyed by the device.
 * Runs on: main.
 */
import type { Chain } from '../../virtio/queue.js';
import { gather, lengthOf } from '../pieces.js';
import { MAX_TABLE } from './filter.js';
import { isCard } from './mac.js';
import {
  ACK,
  ADDRESS,
  ANNOUNCE_ACK,
  CTRL,
  F,
  GUEST_OFFLOADS_SET,
  MAC,
  MQ_VQ_PAIRS_SET,
  RX,
} from './protocol.js';

/** What a command changes. */
export interface ControlTarget {
  /** Negotiated: a command without its feature is refused. */
  readonly features: bigint;
  setMode(mode: number, on: boolean): void;
  /** @param unicast addresses, 6 bytes each; undefined: more than a table holds. `multicast` as well */
  setTable(unicast: Uint8Array | undefined, multicast: Uint8Array | undefined): void;
  setMac(mac: Uint8Array): void;
  announced(): void;
  /** @returns false when there are not so many */
  setPairs(pairs: number): boolean;
  /** @returns false for what was not negotiated */
  setOffloads(features: bigint): boolean;
}

/** Class and command. */
const COMMAND = 2;
/** The longest command looked at, bytes: two full tables. */
const MAX_COMMAND = COMMAND + 2 * (4 + ADDRESS * MAX_TABLE);

/** @returns bytes written, or undefined when the chain is no command: nowhere to answer */
export function serveCommand({ readable, writable }: Chain, target: ControlTarget): number | undefined {
  const answer = writable.find(({ length }) => length > 0);
  const length = lengthOf(readable);
  if (!answer || length < COMMAND) return undefined;
  const done = length <= MAX_COMMAND && obey(gather(readable, length), target);
  answer[0] = done ? ACK.OK : ACK.ERR;
  return 1;
}

function obey(command: Uint8Array, target: ControlTarget): boolean {
  const [kind, code] = command as unknown as [number, number];
  const data = command.subarray(COMMAND);
  const has = (feature: bigint): boolean => (target.features & feature) !== 0n;
  switch (kind) {
    case CTRL.RX:
      if (!has(code <= RX.ALLMULTI ? F.CTRL_RX : F.CTRL_RX_EXTRA) || code > RX.NOBCAST) return false;
      if (data.length !== 1) return false;
      target.setMode(code, data[0] !== 0);
      return true;
    case CTRL.MAC:
      if (code === MAC.TABLE_SET) return has(F.CTRL_RX) && setTable(data, target);
      if (code !== MAC.ADDR_SET || !has(F.CTRL_MAC_ADDR) || !isCard(data)) return false;
      target.setMac(data);
      return true;
    case CTRL.ANNOUNCE:
      if (code !== ANNOUNCE_ACK || !has(F.GUEST_ANNOUNCE)) return false;
      target.announced();
      return true;
    case CTRL.MQ:
      if (code !== MQ_VQ_PAIRS_SET || !has(F.MQ) || data.length !== 2) return false;
      return target.setPairs(viewOf(data).getUint16(0, true));
    case CTRL.GUEST_OFFLOADS:
      if (code !== GUEST_OFFLOADS_SET || !has(F.CTRL_GUEST_OFFLOADS) || data.length !== 8) return false;
      return target.setOffloads(viewOf(data).getBigUint64(0, true));
    default:
      return false;
  }
}

/** Two lists, each a 32-bit count and its addresses. */
function setTable(data: Uint8Array, target: ControlTarget): boolean {
  const unicast = listAt(data, 0);
  const multicast = unicast && listAt(data, 4 + unicast.length);
  if (!multicast || 8 + unicast.length + multicast.length !== data.length) return false;
  const fit = (list: Uint8Array): Uint8Array | undefined =>
    list.length <= ADDRESS * MAX_TABLE ? list : undefined;
  target.setTable(fit(unicast), fit(multicast));
  return true;
}

function listAt(data: Uint8Array, at: number): Uint8Array | undefined {
  if (at + 4 > data.length) return undefined;
  const size = ADDRESS * viewOf(data).getUint32(at, true);
  return at + 4 + size <= data.length ? data.subarray(at + 4, at + 4 + size) : undefined;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
