/** The hub: two cards by the contract, more cards as a switch should, and guests that do not play fair. */
import { describe, expect, it } from 'vitest';
import { Hub } from '../../../../src/backends/hub.js';
import type { NetBackend } from '../../../../src/devices/net/backend.js';
import { FrameLink } from '../../../../src/devices/net/frame-link.js';
import { parseMac } from '../../../../src/devices/net/mac.js';
import { describeNetwork } from '../../../support/net-contract.js';
import { BROADCAST, ethernet, GUEST_MAC, OTHER_MAC } from '../../../support/net-driver.js';

describeNetwork('a hub between two cards', {
  async make() {
    const hub = new Hub();
    return [new FrameLink(hub.port('02:00:00:00:00:01')), new FrameLink(hub.port('02:00:00:00:00:02'))];
  },
});

const THIRD = Uint8Array.of(2, 0, 0, 0, 0, 3);
const ELSEWHERE = Uint8Array.of(2, 9, 9, 9, 9, 9);

/** Three ports with what each received. */
function switched() {
  const hub = new Hub();
  const ports = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03'].map((mac) => {
    const received: Uint8Array[] = [];
    const port = hub.port(mac);
    port.onReceive((frame) => received.push(frame) > 0);
    return { port, received };
  });
  const seen = (): number[] => ports.map(({ received }) => received.splice(0).length);
  return { hub, ports: ports.map(({ port }) => port), seen };
}

describe('a hub', () => {
  it('hands a frame to the one port whose card it is for', () => {
    const { ports, seen } = switched();
    ports[0]!.send(ethernet(60, { to: OTHER_MAC, from: GUEST_MAC }));
    expect(seen()).toEqual([0, 1, 0]);
  });

  it('hands frames for all, for groups and for strangers to all but their sender', () => {
    const { ports, seen } = switched();
    for (const to of [BROADCAST, Uint8Array.of(0x33, 0x33, 0, 0, 0, 1), ELSEWHERE]) {
      ports[1]!.send(ethernet(60, { to, from: OTHER_MAC }));
      expect(seen()).toEqual([1, 0, 1]);
    }
  });

  it('learns where a stranger is, as behind a bridge in a guest', () => {
    const { ports, seen } = switched();
    ports[2]!.send(ethernet(60, { to: GUEST_MAC, from: ELSEWHERE }));
    expect(seen()).toEqual([1, 0, 0]);
    ports[0]!.send(ethernet(60, { to: ELSEWHERE, from: GUEST_MAC }));
    expect(seen()).toEqual([0, 0, 1]);
  });

  it('does not let a guest take what is for another by sending with its address', () => {
    const { hub, ports, seen } = switched();
    ports[2]!.send(ethernet(60, { to: BROADCAST, from: GUEST_MAC }));
    expect([seen(), hub.stats.forged]).toEqual([[0, 0, 0], 1]);
    ports[1]!.send(ethernet(60, { to: GUEST_MAC, from: OTHER_MAC }));
    expect(seen()).toEqual([1, 0, 0]);
  });

  it('takes no frame from the address of a group', () => {
    const { hub, ports, seen } = switched();
    ports[0]!.send(ethernet(60, { to: OTHER_MAC, from: BROADCAST }));
    expect([seen(), hub.stats.forged]).toEqual([[0, 0, 0], 1]);
  });

  it('does not grow with the addresses a guest makes up', () => {
    const { ports, seen } = switched();
    for (let index = 0; index < 10_000; index += 1) {
      const from = Uint8Array.of(2, 1, 0, index >> 16, index >> 8, index);
      ports[0]!.send(ethernet(60, { to: OTHER_MAC, from }));
    }
    expect(seen()).toEqual([0, 10_000, 0]);
    // The oldest were forgotten: frames for them go everywhere again.
    ports[1]!.send(ethernet(60, { to: Uint8Array.of(2, 1, 0, 0, 0, 0), from: OTHER_MAC }));
    expect(seen()).toEqual([1, 0, 1]);
    ports[1]!.send(ethernet(60, { to: Uint8Array.of(2, 1, 0, 0, 0x27, 0x0f), from: OTHER_MAC }));
    expect(seen()).toEqual([1, 0, 0]);
  });

  it('keeps 4 MiB for a guest that takes nothing, drops and counts the rest, and delivers in order', () => {
    const hub = new Hub();
    const [a, b] = [hub.port('02:00:00:00:00:01'), hub.port('02:00:00:00:00:02')];
    let open = false;
    const received: number[] = [];
    b.onReceive((frame) => open && received.push(frame[14]!) > 0);
    for (let index = 0; index < 5000; index += 1) {
      a.send(ethernet(1024, { to: OTHER_MAC, from: GUEST_MAC, fill: index }));
    }
    expect(hub.stats).toMatchObject({ forwarded: 4096, dropped: 5000 - 4096 });
    open = true;
    b.room!();
    expect(received).toEqual(Array.from({ length: 4096 }, (_, index) => (index + 14) & 0xff));
    a.send(ethernet(60, { to: OTHER_MAC, from: GUEST_MAC }));
    expect(received).toHaveLength(4097);
  });

  it('forgets a port that was closed', () => {
    const { hub, ports, seen } = switched();
    ports[2]!.send(ethernet(60, { to: GUEST_MAC, from: ELSEWHERE }));
    seen();
    void ports[2]!.close!();
    ports[0]!.send(ethernet(60, { to: ELSEWHERE, from: GUEST_MAC }));
    ports[0]!.send(ethernet(60, { to: THIRD, from: GUEST_MAC }));
    expect(seen()).toEqual([0, 2, 0]);
    expect(hub.port('02:00:00:00:00:03').mac).toBe('02:00:00:00:00:03');
  });

  it('gives each card an address of its own, unless told one', () => {
    const hub = new Hub();
    const macs = Array.from({ length: 100 }, () => (hub.port() as NetBackend).mac!);
    expect(new Set(macs).size).toBe(100);
    for (const mac of macs) expect(parseMac(mac)![0]! & 3).toBe(2);
  });

  it.each([
    ['02:00:00:00:00:01', "another port's"],
    ['03:00:00:00:00:01', 'not the address of a card'],
    ['00:00:00:00:00:00', 'not the address of a card'],
    ['2:0:0:0:0:1', 'not the address of a card'],
  ])('refuses a port of %s: %s', (mac, why) => {
    const hub = new Hub();
    hub.port('02:00:00:00:00:01');
    expect(() => hub.port(mac)).toThrow(why);
  });
});
