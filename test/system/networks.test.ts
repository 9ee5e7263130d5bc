/** Network cards under Linux: machines that talk to each other through a hub and through a socket, and a cable that is pulled. */
import { expect, it } from 'vitest';
import { Hub, type VmConfig } from '../../src/index.js';
import { guestName } from '../support/guest.js';
import { GUEST_LIMIT, type GuestTest, guestTest, runGuest, tell, UNTIL_TOLD } from '../support/guest-test.js';
import { scratch } from '../support/scratch.js';

/** Of files, in blocks of 64 KiB: an emulated kernel moves some 20 KiB a second when the machine is busy. */
const BLOCKS = guestName === 'stock' ? 64 : 3;

/** Two guests at once; the first one's failure is told first, since the other only waits then. */
async function together(...tests: readonly GuestTest[]): Promise<void> {
  const ends = await Promise.allSettled(tests.map((test) => runGuest(test)));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

const UP = (address: string): string => `
  ip addr add ${address}/24 dev eth0
  ip link set eth0 up`;

/** Receives a file, and sends it back. */
const ECHO = `${UP('10.0.0.1')}
  nc -l -p 5000 > /tmp/file
  at_least bytes "$(wc -c < /tmp/file)" 1
  nc -l -p 5001 < /tmp/file`;

/** Waits for the other guest, pings it with large packets, and has a file sent there and back. */
const ASK = `${UP('10.0.0.2')}
  n=0
  until ping -c 1 -W 1 10.0.0.1 > /dev/null 2>&1; do
    n=$((n + 1)); [ $n -lt 60 ] || fail "no answer: $(ip addr)"
  done
  ping -q -c 5 -i 0.1 -s 1472 10.0.0.1 > /tmp/ping || fail "$(cat /tmp/ping)"
  dd if=/dev/urandom of=/tmp/file bs=64k count=${BLOCKS} 2> /dev/null
  n=0
  until nc 10.0.0.1 5000 < /tmp/file > /dev/null 2>&1; do
    n=$((n + 1)); [ $n -lt 60 ] || fail 'nobody takes the file'; sleep 0.5
  done
  n=0
  # Its input is the console, which does not end: nc would end with it.
  until nc 10.0.0.1 5001 > /tmp/back 2> /dev/null; do
    n=$((n + 1)); [ $n -lt 60 ] || fail 'the file does not come back'; sleep 0.5
  done
  is hash "$(sha256sum < /tmp/back)" "$(sha256sum < /tmp/file)"`;

it(
  'two machines on a hub ping each other, and a file goes there and back',
  async () => {
    const hub = new Hub();
    await together(
      { guest: ECHO, config: { net: hub.port() } },
      {
        guest: ASK,
        config: { net: hub.port() },
        after({ vm }) {
          const { stats } = vm.nets.get('net0')!;
          expect(stats).toMatchObject({ malformed: 0, sendDropped: 0, receiveDropped: 0 });
          expect(stats.sentBytes).toBeGreaterThan(BLOCKS * 65536);
          expect(stats.receivedBytes).toBeGreaterThan(BLOCKS * 65536);
        },
      },
    );
    expect(hub.stats).toMatchObject({ dropped: 0, forged: 0 });
  },
  GUEST_LIMIT,
);

it(
  'two machines at both ends of a socket do the same',
  async () => {
    using folder = scratch();
    const path = folder.path('cable');
    const end = (listen: boolean): Partial<VmConfig> => ({ net: { stream: { path, listen } } });
    // Whoever listens is there as soon as its machine is made; the other is made a little later.
    const listening = runGuest({ guest: ECHO, config: end(true) });
    await new Promise((resolve) => setTimeout(resolve, 500));
    const ends = await Promise.allSettled([listening, runGuest({ guest: ASK, config: end(false) })]);
    for (const one of ends) if (one.status === 'rejected') throw one.reason;
  },
  GUEST_LIMIT,
);

guestTest('a card has the address and MTU it was given, and its cable can be pulled', {
  config: { net: { backend: { send() {}, onReceive() {} }, mac: '02:00:00:00:12:34', mtu: 1400 } },
  guest: `
    is address "$(cat /sys/class/net/eth0/address)" 02:00:00:00:12:34
    is mtu "$(cat /sys/class/net/eth0/mtu)" 1400
    is driver "$(basename "$(readlink /sys/class/net/eth0/device/driver)")" virtio_net
    ip link set eth0 up
    is carrier "$(cat /sys/class/net/eth0/carrier)" 1
    echo 'pull it'
    n=0
    until [ "$(cat /sys/class/net/eth0/carrier)" = 0 ]; do
      n=$((n + 1)); [ $n -lt 50 ] || fail 'the cable is still in'; sleep 0.1
    done
    ip link set eth0 address 02:00:00:00:56:78 || fail 'the address cannot be changed'
    echo 'look at it'
    ${UNTIL_TOLD}`,
  async host(vm) {
    const card = vm.nets.get('net0')!;
    await vm.waitFor('pull it', { timeout: GUEST_LIMIT });
    card.setLink(false);
    await vm.waitFor('look at it', { timeout: GUEST_LIMIT });
    expect(card.mac).toBe('02:00:00:00:56:78');
    tell(vm);
  },
});
