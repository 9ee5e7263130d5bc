/** The i8254: there for flat guests and for kernels that may need it, and nothing but quiet ports for the others. */
import { describe, expect, it } from 'vitest';
import { gpa } from '../../src/base/units.js';
import { VirtualMachine, type VmConfig } from '../../src/index.js';
import { detectHostKind } from '../../src/vm/host-kind.js';
import { long } from '../support/assemble.js';
import { elfImage, withSections } from '../support/images.js';

/** Emulated and busy hosts take seconds for a guest, ms. */
const LIMIT = 90_000;

const CODE = 0x10_0000;
/** Where the guest leaves what it read, and says that it has. */
const READ = 0x30_0000;
const DONE = 0x30_0010;

/** Opens the gate of the third counter, and reads whether it is open (bit 0 of port 0x61), and what the counter has come to. */
const LOOK = `
  mov al, 0xb0
  out 0x43, al      # counter 2, low byte and then high byte, mode 0
  mov al, 0xff
  out 0x42, al
  out 0x42, al
  mov al, 1
  out 0x61, al
  in al, 0x61
  and al, 1
  mov [${READ}], al
  in al, 0x42
  in al, 0x42
  mov [${READ + 1}], al
  mov dword ptr [${DONE}], 1
1: jmp 1b`;

const software = detectHostKind() === 'software';

/** A vmlinux of that code which says which Linux it is. */
function kernel(version: string): Uint8Array {
  const code = long(LOOK);
  const image = elfImage({ entry: CODE, segments: [{ address: CODE, fileSize: code.length }] });
  image.set(code, 0x1000);
  const banner = new Uint8Array(Buffer.from(`Linux version ${version} (typevisor)`));
  return withSections(image, [{ name: '.rodata', bytes: banner }]).image;
}

/** @returns what the guest read of the gate and the counter */
async function look(config: VmConfig): Promise<{ gate: number; counter: number }> {
  // Software KVM would refuse kernels that do not say that they cope with it.
  await using vm = await VirtualMachine.start({ memory: '16M', hostCheck: 'ignore', ...config });
  await expect.poll(() => vm.memory.readU32(gpa(DONE)), { timeout: 30_000 }).toBe(1);
  return { gate: vm.memory.readU8(gpa(READ)), counter: vm.memory.readU8(gpa(READ + 1)) };
}

describe('a PIT', { timeout: LIMIT }, () => {
  it.skipIf(software)(
    'is not there for a kernel that does without, whose machine says how fast the TSC is',
    async () => {
      const config = { kernel: kernel('6.1.0-56-cloud-amd64') };
      expect(await look(config)).toEqual({ gate: 0, counter: 0 });
      await using vm = await VirtualMachine.create({ ...config, memory: '16M', hostCheck: 'ignore' });
      expect(vm.cmdline).toMatch(/ tsc_early_khz=[1-9]\d{5,}( |$)/);
    },
  );

  it.each<[string, VmConfig]>([
    ['a kernel before 5.6', { kernel: kernel('5.4.0') }],
    ['a kernel that does not say which it is', { kernel: kernel('next') }],
    ['a kernel without the LAPIC', { kernel: kernel('6.1.0'), cmdline: 'nolapic' }],
    [
      'a guest without the deadline timer',
      { kernel: kernel('6.1.0'), cpu: { mask: ['tsc_deadline_timer'] } },
    ],
    ...(software
      ? [['a guest of software KVM', { kernel: kernel('6.1.0') }] satisfies [string, VmConfig]]
      : []),
    ['a flat guest', { kernel: long(LOOK), flat: { load: CODE, mode: 'long', irqchip: true } }],
  ])('is there for %s', async (_who, config) => {
    expect((await look(config)).gate).toBe(1);
  });
});
