/** A stock kernel finds this machine by ACPI alone: no word of it is on the command line that it would understand. */
import { describe, expect, it } from 'vitest';
import { VirtualMachine } from '../../src/index.js';
import { BOOT_LIMIT, GUEST, guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest, recorded, scripted } from '../support/guest-test.js';

/** Lines of the kernel's log that look like a complaint about the firmware and are not ours to mend, with the reason. */
const REVIEWED: readonly string[] = [
  'PCI: Fatal: No config space access function found', // pci=off, and there is none
  'PCI: System does not support PCI', // so it is
];

/** Runs `script`, which says READY and waits; then stops the VM. */
async function stopped(script: string, timeout: number, cmdline = 'quiet') {
  await using vm = await VirtualMachine.start({
    ...GUEST,
    cmdline,
    initrd: scripted(`${script}\necho READY\nsleep 1000`),
  });
  const console = recorded(vm);
  await vm.waitFor(/READY\r?\n/, { timeout: BOOT_LIMIT });
  const start = performance.now();
  const exit = await vm.stop({ timeout });
  return { exit, text: console.text, took: performance.now() - start };
}

describe.skipIf(guestName !== 'stock')('ACPI', () => {
  guestTest('tells a kernel of CPUs, devices and interrupts, and it has no complaint', {
    config: { cpus: 2, rng: {}, disks: [new Uint8Array(2 ** 20)] },
    guest: `
      is 'the number of CPUs' "$(nproc)" 2
      cd /sys/bus/acpi/devices
      count() { n=0; for d in "$@"; do [ -e "$d" ] && n=$((n + 1)); done; echo $n; }
      is 'virtio-mmio nodes' "$(count LNRO0005:*)" 2
      is 'processor nodes' "$(count ACPI0007:*)" 2
      is 'bound virtio-mmio devices' "$(count /sys/bus/platform/drivers/virtio-mmio/LNRO0005:*)" 2
      is 'virtio devices' "$(count /sys/bus/virtio/devices/virtio*)" 2
      [ -b /dev/vda ] || fail 'no disk'
      is 'the generation id device' "$(cat TYVS0001:00/path)" '\\_SB_.VGEN'
      [ "$(uname -r | cut -d. -f1,2)" = 6.1 ] || [ -e /sys/bus/acpi/drivers/vmgenid/TYVS0001:00 ] || fail 'no vmgenid driver'
      grep -q 'io 0x3f8-0x3ff' /sys/bus/pnp/devices/00:00/resources || fail 'COM1 is not in PNP'
      interrupt() { grep -E "IO-APIC +$1-edge +$2" /proc/interrupts >/dev/null || fail "no interrupt $1 of $2: $(cat /proc/interrupts)"; }
      interrupt 4 ttyS0
      interrupt 9 ACPI:Ged
      interrupt 5 virtio0
      interrupt 6 virtio1
      is 'the clock' "$(cat /sys/class/rtc/rtc0/name)" 'rtc_cmos 00:01'
      dmesg -r | grep -E '^<[0-4]>' | grep -iE 'acpi|apic|firmware|bios|mptable|smp|pnp|pci|rtc|i8042|ttyS|irq|timer' \\
        | grep -vF '${REVIEWED.join(`' | grep -vF '`)}' > /tmp/complaints
      [ -s /tmp/complaints ] && fail "the kernel complains: $(cat /tmp/complaints)"
      true`,
  });

  it('shuts a guest down on stop(), which needs no program of its own for it', {
    timeout: GUEST_LIMIT,
  }, async () => {
    const { exit, text } = await stopped('', 60_000);
    expect(exit).toMatchObject({ reason: 'poweroff', code: 0 });
    expect(text).toContain('reboot: Power down');
  });

  it('presses the power button; a guest that only watches is killed after the timeout', {
    timeout: GUEST_LIMIT,
  }, async () => {
    const script = `
      echo '/bin/busybox true' > /proc/sys/kernel/poweroff_cmd
      modprobe -a button evdev
      for input in /sys/class/input/event*; do
        read -r name < $input/device/name
        [ "$name" = 'Power Button' ] && event=/dev/input/\${input##*/}
      done
      (dd if=$event bs=24 count=1 2>/dev/null | hexdump -v -e '24/1 "%02x" "\\n"') &`;
    const { exit, text, took } = await stopped(script, 8000);
    expect(exit).toMatchObject({ reason: 'killed' });
    expect(exit.message).toBe('the guest did not shut down within 8 s of being asked and was killed');
    expect(took).toBeGreaterThanOrEqual(8000);
    // struct input_event: the time, EV_KEY (1), KEY_POWER (116), pressed (1).
    expect(text).toMatch(/[0-9a-f]{32}0100740001000000/);
  });

  guestTest('resets the machine by its register', {
    config: { cmdline: 'quiet reboot=a' },
    guest: 'exec reboot -f',
    exit: { reason: 'reboot', code: 0 },
  });

  it('is not needed: with acpi=off the guest runs, and stop() knows that it cannot ask', {
    timeout: GUEST_LIMIT,
  }, async () => {
    const { exit, took } = await stopped(
      '[ -d /sys/firmware/acpi ] && fail "there is ACPI"',
      60_000,
      'quiet acpi=off',
    );
    expect(exit).toMatchObject({
      reason: 'killed',
      message: 'the guest cannot be asked to shut down and was killed',
    });
    expect(took).toBeLessThan(5000);
  });
});
