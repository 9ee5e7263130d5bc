/** Writing zeroes where nothing better is known. Runs on: main. */

import type { Pieces } from '../base/pieces.js';
import { KiB } from '../base/units.js';
import { type Done, inOrder } from './pieces.js';

/** Never written to. */
const ZEROES = new Uint8Array(64 * KiB);
const STEP = 16 * ZEROES.length;

/** One step at a time: 2 GiB of zeroes must not fill memory or starve other requests. */
export function writeZeroesBy(
  writev: (offset: number, from: Pieces) => Done,
  offset: number,
  length: number,
): Done {
  const now = Math.min(length, STEP);
  if (now === 0) return undefined;
  const pieces: Uint8Array[] = [];
  for (let left = now; left > 0; left -= ZEROES.length) pieces.push(ZEROES.subarray(0, left));
  return inOrder(writev(offset, pieces), () => writeZeroesBy(writev, offset + now, length - now));
}
