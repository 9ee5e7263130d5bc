/** Addresses for cards that were given none. Runs on: main. */
import { randomBytes } from '../host/libc.js';

/** A locally administered address of one card (IEEE 802): nobody makes cards that have it. */
export function makeMac(): Uint8Array {
  const mac = new Uint8Array(6);
  randomBytes(mac);
  mac[0] = (mac[0]! & 0xfc) | 2;
  return mac;
}
