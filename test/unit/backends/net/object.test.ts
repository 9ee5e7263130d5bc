/** Ten lines of an embedder's own, by the contract: two objects with `send` and `onReceive`. */
import { describe } from 'vitest';
import type { NetBackend, Receive } from '../../../../src/devices/net/backend.js';
import { FrameLink } from '../../../../src/devices/net/frame-link.js';
import { describeNetwork } from '../../../support/net-contract.js';

/** What each sends, the other receives; a frame that is refused waits. */
function cable(): [NetBackend, NetBackend] {
  const receive: Receive[] = [];
  const waiting: Uint8Array[][] = [[], []];
  const flush = (to: number): void => {
    while (waiting[to]!.length > 0 && receive[to]!(waiting[to]![0]!)) waiting[to]!.shift();
  };
  const end = (own: number): NetBackend => ({
    send(frame) {
      if (waiting[1 - own]!.length < 100) waiting[1 - own]!.push(frame);
      flush(1 - own);
    },
    onReceive: (callback) => void (receive[own] = callback),
    room: () => flush(own),
  });
  return [end(0), end(1)];
}

describe("an embedder's network", () => {
  describeNetwork('of two objects', {
    async make() {
      const [one, other] = cable();
      return [new FrameLink(one), new FrameLink(other)];
    },
  });
});
