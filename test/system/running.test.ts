/** Linux guests that run: paused and resumed, many at once, next to one that dies. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { VirtualMachine } from '../../src/index.js';
import { longGuest } from '../support/bare.js';
import { GUEST, guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest, INIT_ENDS_BY, recorded, scripted } from '../support/guest-test.js';
import { unexpectedWarnings } from '../support/kernel-log.js';

/** As many as a dozen pauses take; on a busy host the rig answers an exit in milliseconds, and each line has ten. */
const LINES = 1200;

guestTest('a guest under load that is paused and resumed loses no byte and complains of nothing', {
  config: { cpus: 2 },
  guest: `
    while :; do :; done &
    load=$!
    echo begin
    seq 1 ${LINES / 2}
    i=0; while [ $i -lt ${LINES / 2} ]; do i=$((i + 1)); echo $((i + ${LINES / 2})); done
    echo end
    kill $load
    dmesg -r`,
  async host(vm) {
    await vm.waitFor('begin\r\n', { timeout: GUEST_LIMIT });
    let ended = false;
    const end = (): void => {
      ended = true;
    };
    // If the guest ends early, its exit says so.
    void vm.waitFor('end\r\n').then(end, end);
    for (let round = 0; round < 12 && !ended; round += 1) {
      await vm.pause();
      // Once for longer than any timer of the guest. Its soft lockup watchdog waits 20 s; a rig that stalls for 15 was seen.
      await sleep(round === 3 ? 3000 : 30);
      await vm.resume();
      await sleep(round < 8 ? 50 : 200);
    }
  },
  after({ console }) {
    const lines = /begin\r\n([\s\S]*?)end\r\n/.exec(console)![1]!.trimEnd().split('\r\n');
    expect(lines).toEqual(Array.from({ length: LINES }, (_, index) => String(index + 1)));
    expect(unexpectedWarnings(console)).toEqual([]);
  },
});

/** What this process holds of VMs. */
const held = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  threads: readdirSync('/proc/self/task').filter(
    (thread) => readFileSync(`/proc/self/task/${thread}/comm`, 'latin1') === 'vcpu\n',
  ).length,
  mappings: readFileSync('/proc/self/maps', 'utf8').match(/kvm/g)?.length ?? 0,
});

it(
  'three guests run at once, keep apart, and do not mind a fourth that dies; nothing of them is left',
  async () => {
    const before = held();
    const script = (name: number): string => `
      echo "I am ${name}"
      read -r line
      is line "$line" "to ${name}"
      exit ${name}`;
    const vms = await Promise.all(
      [1, 2, 3].map((name) => VirtualMachine.start({ ...GUEST, initrd: scripted(script(name)) })),
    );
    const texts = vms.map(recorded);
    const bad = await longGuest('ud2');
    await bad.start();
    expect(await bad.exited).toMatchObject({ reason: 'triple-fault', code: 72 });
    await Promise.all(
      vms.map(async (vm, index) => {
        await vm.waitFor(`I am ${index + 1}`, { timeout: GUEST_LIMIT });
        vm.serial.write(`to ${index + 1}\n`);
        await vm.waitFor(`typevisor: exit ${index + 1}`, { timeout: GUEST_LIMIT });
        expect(await vm.exited).toMatchObject({ reason: INIT_ENDS_BY, code: 0 });
      }),
    );
    for (const [index, { text }] of texts.entries()) {
      for (const other of [1, 2, 3]) expect(text.includes(`I am ${other}`)).toBe(other === index + 1);
    }
    for (let tries = 0; tries < 100 && held().mappings > before.mappings; tries += 1) await sleep(20);
    const after = held();
    expect(after.threads).toBe(before.threads);
    expect(after.mappings).toBeLessThanOrEqual(before.mappings);
    expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
  },
  GUEST_LIMIT,
);

guestTest(`the ${guestName} kernel has nothing to complain of`, {
  guest: 'dmesg -r',
  after({ console, vm }) {
    expect(console).toMatch(/^<6>\[ *[\d.]+\] /m);
    expect(unexpectedWarnings(console)).toEqual([]);
    // What it touched and nobody owns: a device missing that it expects. A stock kernel also looks for PCI and old ones.
    if (guestName === 'lean') expect(Object.keys(vm.stats().unclaimed)).toEqual([]);
  },
});
