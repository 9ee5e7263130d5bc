/** Kernels that cannot do what their machine wants of them, and what the monitor says then: a real end, told by a real image. */
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type ExitInfo, VirtualMachine, type VmConfig } from '../../src/index.js';
import { long } from '../support/assemble.js';
import { elfImage } from '../support/images.js';

/** Emulated and busy hosts take seconds for a guest, ms. */
const LIMIT = 90_000;

/** A vmlinux of this code, with a build configuration as CONFIG_IKCONFIG keeps it. */
function kernel(source: string, options: string): Uint8Array {
  const code = long(source);
  const kept = Buffer.concat([Buffer.from('IKCFG_ST'), gzipSync(options), Buffer.from('IKCFG_ED')]);
  const segments = [code, kept].map(({ length }, index) => ({
    address: 0x10_0000 * (index + 1),
    fileSize: length,
  }));
  const image = elfImage({ entry: 0x10_0000, segments });
  image.set(code, 0x1000);
  image.set(kept, 0x1000 + code.length);
  return image;
}

async function endOf(config: Omit<VmConfig, 'memory'>): Promise<ExitInfo> {
  // Software KVM would refuse kernels that do not say that they cope with it.
  const common = { memory: '16M', timeouts: { run: 30_000 }, hostCheck: 'ignore' } as const;
  await using vm = await VirtualMachine.start({ ...config, ...common });
  return await vm.exited;
}

/** Writes the text at `text` to COM1. */
const PRINT = `
  lea rsi, [rip + text]
  mov dx, 0x3f8
1: lodsb
  test al, al
  jz 2f
  out dx, al
  jmp 1b
2:`;
const RESET = 'mov al, 0xfe\n out 0x64, al\n hlt';
const NO_ROOT = `${PRINT}\n${RESET}\n
  text: .asciz "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\\n"`;

describe('a kernel', { timeout: LIMIT }, () => {
  it('without a serial console is told by name, when it halts and never said a word', async () => {
    const end = await endOf({ kernel: kernel('cli\n hlt', 'CONFIG_ACPI=y\nCONFIG_VIRTIO_MMIO=y\n') });
    expect(end).toMatchObject({
      reason: 'halted',
      hint: 'the kernel was built without CONFIG_SERIAL_8250_CONSOLE (a console on ttyS0)',
    });
  });

  it('without virtio-mmio, or a way to find it, is told by name, when it finds no root', async () => {
    const disks = [new Uint8Array(4096)];
    const without = await endOf({ kernel: kernel(NO_ROOT, 'CONFIG_ACPI=y\nCONFIG_VIRTIO_BLK=y\n'), disks });
    expect(without).toMatchObject({
      reason: 'panic',
      code: 71,
      hint: 'the kernel was built without CONFIG_VIRTIO_MMIO (any virtio device)',
    });
    const options = 'CONFIG_VIRTIO_MMIO=y\nCONFIG_VIRTIO_BLK=y\n';
    expect((await endOf({ kernel: kernel(NO_ROOT, options), disks })).hint).toBe(
      'the kernel was built without CONFIG_ACPI or CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES (finding them)',
    );
  });
});
