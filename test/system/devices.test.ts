/** Virtio devices other than disks under a real driver: entropy, the console, one of an embedder's own, and all places taken. */
import { expect } from 'vitest';
import type { Session, VirtioDevice } from '../../src/index.js';
import { guestTest } from '../support/guest-test.js';

/** What an embedder writes: an entropy device (virtio 1.2 §5.4) whose bytes are no secret. */
class CountingDevice implements VirtioDevice {
  readonly name = 'counting';
  readonly type = 4;
  readonly queueSizes = [16];
  readonly features = 0n;
  #next = 0;
  #session: Session | undefined;

  activate(session: Session): void {
    this.#session = session;
  }

  kick(index: number): void {
    const { interrupt = false } =
      this.#session?.queues[index]?.drain(({ writable }) => {
        for (const buffer of writable)
          for (let i = 0; i < buffer.length; i += 1) buffer[i] = this.#next++ & 0xff;
        return writable.reduce((sum, { length }) => sum + length, 0);
      }) ?? {};
    if (interrupt) this.#session?.interrupt();
  }

  reset(): void {
    this.#session = undefined;
  }
}

guestTest("an embedder's own device feeds /dev/hwrng", {
  config: { devices: [new CountingDevice()] },
  guest: `
    is driver "$(cat /sys/class/misc/hw_random/rng_current)" virtio_rng.0
    dd if=/dev/hwrng bs=64 count=1 2> /dev/null | od -An -v -t u1 | tr -s ' \\n' ' ' > /tmp/bytes
    read -r first second third rest < /tmp/bytes
    is second "$second" $(((first + 1) % 256))
    is third "$third" $(((first + 2) % 256))`,
});

guestTest("the host's entropy and the virtio console, whose size follows the host's", {
  config: { rng: true, console: true, cmdline: 'quiet console=ttyS0' },
  guest: `
    dd if=/dev/hwrng of=/tmp/random bs=64 count=2 2> /dev/null
    at_least 'random bytes' "$(sort -u /tmp/random | wc -c)" 16
    [ -e /dev/hvc0 ] || fail 'no console'
    exec 3<> /dev/hvc0 # as a getty holds it: input that comes while nobody has it open is the driver's to lose
    echo 'hello, host' >&3
    read -r line <&3
    is input "$line" 'hello, guest'
    n=0
    until [ "$(stty size < /dev/hvc0)" = '43 132' ]; do
      n=$((n + 1)); [ $n -lt 50 ] || fail "the size is $(stty size < /dev/hvc0)"; sleep 0.1
    done`,
  async host(vm) {
    const console = vm.console!;
    await new Promise<void>((resolve) => {
      let text = '';
      console.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        if (text.includes('hello, host')) resolve();
      });
    });
    console.write('hello, guest\n');
    console.resize(132, 43);
  },
});

guestTest('17 devices find their places and their interrupts', {
  config: { disks: Array.from({ length: 16 }, () => Buffer.alloc(1 << 20, 'y')), rng: true },
  guest: `
    is devices "$(ls /sys/bus/virtio/devices | wc -l)" 17
    is disks "$(ls -d /sys/block/vd* | wc -l)" 16
    for disk in a h p; do
      is "disk $disk" "$(dd if=/dev/vd$disk bs=512 skip=2047 2> /dev/null | tail -c 3)" yyy
    done
    dd if=/dev/hwrng of=/tmp/random bs=16 count=1 2> /dev/null
    is random "$(wc -c < /tmp/random)" 16`,
  after({ vm }) {
    expect(vm.stats().devices['disk15']).toMatchObject({ faults: 0, errors: 0 });
  },
});
