/** More than one CPU, more than the memory below the gap. */
import { expect } from 'vitest';
import { gpa } from '../../src/base/units.js';
import { GUEST_LIMIT, guestTest } from '../support/guest-test.js';
import { unexpectedWarnings } from '../support/kernel-log.js';

const GiB = 2 ** 30;

/** Every CPU is online, is told apart, runs something, and gets its own timer interrupts. */
const cpuScript = (cpus: number): string => `
  is online "$(cat /sys/devices/system/cpu/online)" 0-${cpus - 1}
  is processors "$(grep -c ^processor /proc/cpuinfo)" ${cpus}
  is ids "$(grep ^apicid /proc/cpuinfo | sort -u | wc -l)" ${cpus}
  is packages "$(cat /sys/devices/system/cpu/cpu*/topology/physical_package_id | sort -u | wc -l)" 1
  for cpu in $(seq 0 ${cpus - 1}); do
    is "CPU that runs" "$(taskset -c $cpu awk '{ print $39 }' /proc/self/stat)" $cpu &
  done
  wait
  for column in $(seq 2 ${cpus + 1}); do
    at_least "timer interrupts of CPU $((column - 2))" "$(awk -v c=$column '$1 == "LOC:" { print $c }' /proc/interrupts)" 2
  done
  echo begin; dmesg -r; echo end`;

for (const cpus of [2, 4]) {
  guestTest(`${cpus} CPUs come up and work`, {
    config: { cpus },
    guest: cpuScript(cpus),
    after({ console }) {
      expect(unexpectedWarnings(console)).toEqual([]);
    },
  });
}

/** An emulated kernel needs half a minute for each GiB. */
guestTest('3.25 GiB of memory lie below and above the gap, and take no more of the host than is used', {
  config: { memory: '3328M', cmdline: 'quiet' },
  guest: `
    at_least MemTotal "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)" $((3150 * 1024))
    grep 'System RAM' /proc/iomem
    grep -q '00100000-bfffffff : System RAM' /proc/iomem || fail "no RAM up to the gap"
    grep -q '100000000-10fffffff : System RAM' /proc/iomem || fail "no RAM above 4 GiB"
    # The kernel gives the highest memory first.
    mkdir -p /tmp/m && mount -t tmpfs -o size=100m none /tmp/m
    for i in 1 2 3 4; do for j in 1 2 3 4 5 6 7 8; do printf 'typevisor pattern block %08d %08d %08d %08d\\n' $i $j $i $j; done; done > /tmp/m/one
    i=0; while [ $i -lt 8 ]; do cat /tmp/m/one /tmp/m/one /tmp/m/one > /tmp/m/$i; i=$((i + 1)); done
    sync; echo written; read -r line`,
  async host(vm) {
    await vm.waitFor('written\r\n', { timeout: GUEST_LIMIT });
    expect(process.memoryUsage.rss()).toBeLessThan(1 * GiB);
    let found = 0;
    for (let at = 4 * GiB; at < 4.25 * GiB; at += 4096) {
      if (vm.memory.readU32(gpa(at)) === 0x6570_7974) found += 1; // "type"
    }
    // Nine files of at least a page each.
    expect(found).toBeGreaterThanOrEqual(8);
    vm.serial.write('\n');
  },
  after({ vm }) {
    expect(vm.state).toBe('stopped');
  },
});
