import { describe, expect, it } from 'vitest';
import { exitReasons, structs } from '../../../src/kvm/abi.js';
import { type AccessExit, isAccess, RunPage } from '../../../src/vcpu/exit.js';
import { PIO_DATA, RunPageModel } from '../../support/run-page.js';

const UNION = structs.kvm_run.size;

function decoded(fill: (page: RunPageModel) => void) {
  const page = new RunPageModel();
  fill(page);
  return { page, exit: new RunPage(page.bytes).decode() };
}

describe('a port access', () => {
  it.each([
    ['IN', false],
    ['OUT', true],
  ])('of each width: %s', (_what, write) => {
    for (const size of [1, 2, 4]) {
      const data = [0x11, 0x22, 0x33, 0x44].slice(0, size);
      const { exit } = decoded((page) => page.pio(0x3f8, data, { write, size }));
      expect(exit).toEqual({
        kind: 'pio',
        address: 0x3f8,
        isWrite: write,
        size,
        data: Uint8Array.from(data),
      });
      expect(isAccess(exit)).toBe(true);
    }
  });

  it('repeated: all of its parts behind each other', () => {
    const { exit } = decoded((page) => page.pio(0xe9, [1, 2, 3, 4, 5, 6], { write: true, size: 2 }));
    expect(exit).toMatchObject({ size: 2, data: Uint8Array.of(1, 2, 3, 4, 5, 6) });
  });

  it('shows the bytes themselves: what a device writes there the guest reads', () => {
    const { page, exit } = decoded((run) => run.pio(0x71, [0]));
    (exit as AccessExit).data[0] = 0x42;
    expect(page.bytes[PIO_DATA]).toBe(0x42);
  });

  it('of the highest port', () => {
    expect(decoded((page) => page.pio(0xffff, [0])).exit).toMatchObject({ address: 0xffff });
  });
});

describe('a memory access', () => {
  it.each([1, 2, 4, 8])('of %i bytes', (length) => {
    const data = Array.from({ length }, (_, index) => index + 1);
    const { exit } = decoded((page) => page.mmio(0xc000_1050, data, { write: true }));
    expect(exit).toEqual({
      kind: 'mmio',
      address: 0xc000_1050,
      isWrite: true,
      size: length,
      data: Uint8Array.from(data),
    });
  });

  it('above 4 GiB, to the last of 52 bits', () => {
    expect(decoded((page) => page.mmio(2 ** 52 - 1, [0])).exit).toMatchObject({
      address: 2 ** 52 - 1,
      isWrite: false,
    });
  });

  it('shows the bytes themselves', () => {
    const { page, exit } = decoded((run) => run.mmio(0xc000_1000, [0, 0, 0, 0]));
    (exit as AccessExit).data.set([1, 2, 3, 4]);
    const at = UNION + structs.kvm_run_mmio.offsets.data;
    expect([...page.bytes.subarray(at, at + 5)]).toEqual([1, 2, 3, 4, 0]);
  });
});

describe('an end', () => {
  it.each([
    ['KVM_EXIT_HLT', { kind: 'hlt' }],
    ['KVM_EXIT_SHUTDOWN', { kind: 'shutdown' }],
    ['KVM_EXIT_INTR', { kind: 'interrupted' }],
    ['KVM_EXIT_DEBUG', { kind: 'unknown', reason: 4 }],
    ['KVM_EXIT_UNKNOWN', { kind: 'unknown', reason: 0 }],
  ] as const)('%s', (name, expected) => {
    const { exit } = decoded((page) => page.reason(exitReasons[name]));
    expect(exit).toEqual(expected);
    expect(isAccess(exit)).toBe(false);
  });

  it('by an internal error, with as much data as there is', () => {
    expect(decoded((page) => page.internalError(1, [5n, 2n ** 64n - 1n])).exit).toEqual({
      kind: 'internal-error',
      suberror: 1,
      data: [5n, 2n ** 64n - 1n],
    });
    const { exit } = decoded((page) => page.internalError(3, [], 0xffff_ffff));
    expect(exit).toMatchObject({ kind: 'internal-error', data: Array(16).fill(0n) });
  });

  it('by a failed entry, and by a system event', () => {
    const failed = decoded(({ view, bytes }) => {
      new DataView(bytes.buffer).setUint32(
        structs.kvm_run.offsets.exit_reason,
        exitReasons.KVM_EXIT_FAIL_ENTRY,
        true,
      );
      structs.kvm_run_fail_entry.encodeInto(view, UNION, { hardware_entry_failure_reason: 0x8000_0021n });
    });
    expect(failed.exit).toEqual({ kind: 'fail-entry', reason: 0x8000_0021n });
    const event = decoded((page) => {
      page.reason(exitReasons.KVM_EXIT_SYSTEM_EVENT);
      structs.kvm_run_system_event.encodeInto(page.view, UNION, { type: 2 });
    });
    expect(event.exit).toEqual({ kind: 'system-event', type: 2 });
  });
});

it('one decoder follows its page from exit to exit', () => {
  const page = new RunPageModel();
  const run = new RunPage(page.bytes);
  page.mmio(0x1000, [7], { write: true });
  expect(run.decode()).toMatchObject({ kind: 'mmio', data: Uint8Array.of(7) });
  page.pio(0x60, [9]);
  expect(run.decode()).toMatchObject({ kind: 'pio', data: Uint8Array.of(9) });
  page.mmio(0x1000, [1, 2, 3, 4]);
  expect(run.decode()).toMatchObject({ kind: 'mmio', size: 4, data: Uint8Array.of(1, 2, 3, 4) });
});
