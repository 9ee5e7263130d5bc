/** ARP for IPv4 over Ethernet (RFC 826): answers for the addresses that are ours, and learns whose the others are. Runs on: main. */
import type { Address } from './address.js';
import { ETHER_TYPE, ETHERNET_HEADER, sameBytes } from './ethernet.js';
import type { Link } from './link.js';
import type { Neighbours } from './neighbours.js';

/** Bytes of a message for these two kinds of address. */
const LENGTH = 28;
const OPERATION = { REQUEST: 1, REPLY: 2 } as const;
/** Hardware Ethernet, protocol IPv4, lengths 6 and 4. */
const KIND = Uint8Array.of(0, 1, 0x08, 0x00, 6, 4);

export interface ArpHost {
  readonly link: Link;
  readonly neighbours: Neighbours;
  /** Whether an address is one of ours. */
  isOurs(address: Address): boolean;
  /** Whether an address may be the guest's. */
  isGuest(address: Address): boolean;
}

/** Takes a message from the guest. @returns whether it was sound */
export function handleArp(frame: Uint8Array, { link, neighbours, isOurs, isGuest }: ArpHost): boolean {
  const message = frame.subarray(ETHERNET_HEADER, ETHERNET_HEADER + LENGTH);
  if (message.length < LENGTH || !sameBytes(message.subarray(0, 6), KIND)) return false;
  const operation = (message[6]! << 8) | message[7]!;
  const [senderMac, sender] = [message.slice(8, 14), message.slice(14, 18)];
  const target = message.slice(24, 28);
  // A probe (RFC 5227 §2.1.1) has no sender's address yet: it is answered when it asks for one of ours.
  if (isGuest(sender)) neighbours.learn(sender, senderMac);
  if (operation !== OPERATION.REQUEST || !isOurs(target)) return true;
  const reply = new Uint8Array(ETHERNET_HEADER + LENGTH);
  writeMessage(
    reply,
    OPERATION.REPLY,
    { mac: link.mac, address: target },
    { mac: senderMac, address: sender },
  );
  link.send(reply, senderMac, ETHER_TYPE.ARP);
  return true;
}

/** Asks the guest whose `address` is. */
export function askArp(link: Link, ours: Address, address: Address): void {
  const frame = new Uint8Array(ETHERNET_HEADER + LENGTH);
  const nobody = new Uint8Array(6);
  writeMessage(frame, OPERATION.REQUEST, { mac: link.mac, address: ours }, { mac: nobody, address });
  link.broadcast(frame, ETHER_TYPE.ARP);
}

interface Party {
  readonly mac: Uint8Array;
  readonly address: Address;
}

function writeMessage(frame: Uint8Array, operation: number, sender: Party, target: Party): void {
  const message = frame.subarray(ETHERNET_HEADER);
  message.set(KIND);
  message[7] = operation;
  message.set(sender.mac, 8);
  message.set(sender.address, 14);
  message.set(target.mac, 18);
  message.set(target.address, 24);
}
