import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { parseConfig, type VmConfig } from '../../../src/config/schema.js';
import { openGuestFile } from '../../../src/vm/guest-file.js';
import { type FailedBoot, kernelOptions, optionHint } from '../../../src/vm/kernel-options.js';

/** An image with a configuration in it. */
const image = (text: string, at = 100): Uint8Array => {
  const parts = [Buffer.alloc(at), Buffer.from('IKCFG_ST'), gzipSync(text), Buffer.from('IKCFG_ED')];
  return new Uint8Array(Buffer.concat([...parts, Buffer.alloc(50)]));
};
const optionsIn = (bytes: Uint8Array) => kernelOptions(openGuestFile('kernel', bytes));

describe('the options in an image', () => {
  it('are found wherever they lie, modules and all', () => {
    const text = '# Linux\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_D="x"\n';
    const found = new Map([
      ['CONFIG_A', 'y'],
      ['CONFIG_C', 'm'],
      ['CONFIG_D', '"x"'],
    ]);
    // Across the border of what is read at once, too.
    for (const at of [0, 100, 4 * 2 ** 20 - 4, 9 * 2 ** 20])
      expect(optionsIn(image(text, at))).toEqual(found);
  });

  it('are unknown in an image without, and in a damaged one', () => {
    expect(optionsIn(new Uint8Array(1000))).toBeUndefined();
    expect(optionsIn(new Uint8Array(Buffer.from('IKCFG_ST and no end')))).toBeUndefined();
    expect(optionsIn(new Uint8Array(Buffer.from('IKCFG_ST no gzip IKCFG_ED')))).toBeUndefined();
  });
});

describe('the hint after a boot that failed', () => {
  const NO_ROOT: FailedBoot = {
    reason: 'panic',
    silent: false,
    panic: 'VFS: Unable to mount root fs on unknown-block(0,0)',
  };
  const SILENT: FailedBoot = { reason: 'timeout', silent: true, panic: undefined };
  const hint = (boot: FailedBoot, text: string | undefined, more: Partial<VmConfig> = {}) => {
    const kernel = text === undefined ? new Uint8Array(64) : image(text);
    return optionHint(parseConfig({ kernel, disks: ['disk'], ...more }), boot);
  };

  it('names what the kernel has not, and only that', () => {
    expect(hint(NO_ROOT, 'CONFIG_VIRTIO_BLK=y\nCONFIG_ACPI=y\n')).toBe(
      'the kernel was built without CONFIG_VIRTIO_MMIO (any virtio device)',
    );
    expect(hint(NO_ROOT, 'CONFIG_VIRTIO_MMIO=m\nCONFIG_VIRTIO_BLK=y\n')).toBe(
      'the kernel was built without CONFIG_VIRTIO_MMIO (any virtio device); CONFIG_ACPI or ' +
        'CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES (finding them); modules must be in an initrd',
    );
    expect(hint(NO_ROOT, 'CONFIG_A=y\n', { disks: [], initrd: 'i' })).toBe(
      'the kernel was built without CONFIG_BLK_DEV_INITRD (an initrd)',
    );
    expect(hint(SILENT, 'CONFIG_A=y\n')).toBe(
      'the kernel was built without CONFIG_SERIAL_8250_CONSOLE (a console on ttyS0)',
    );
  });

  it('asks when the image does not tell', () => {
    expect(hint(SILENT, undefined)).toBe(
      'does the kernel have CONFIG_SERIAL_8250_CONSOLE (a console on ttyS0)? its image does not tell',
    );
    const absent = optionHint(parseConfig({ kernel: '/absent' }), SILENT);
    expect(absent).toContain('its image does not tell');
  });

  it('is none where options are not to blame', () => {
    const all = 'CONFIG_VIRTIO_BLK=y\nCONFIG_ACPI=y\nCONFIG_VIRTIO_MMIO=y\nCONFIG_SERIAL_8250_CONSOLE=y\n';
    expect(hint(NO_ROOT, all)).toBeUndefined();
    expect(hint(SILENT, all)).toBeUndefined();
    expect(hint(NO_ROOT, undefined, { disks: [] })).toBeUndefined();
    expect(hint({ ...SILENT, silent: false }, undefined)).toBeUndefined();
    expect(hint({ ...NO_ROOT, panic: 'sysrq triggered crash' }, undefined)).toBeUndefined();
    expect(hint(SILENT, undefined, { flat: {}, disks: [] })).toBeUndefined();
    expect(hint({ reason: 'poweroff', silent: true, panic: undefined }, undefined)).toBeUndefined();
  });
});
