/**
 * Every "Device Requirements" section of virtio 1.2 is a `describe` of these conformance tests, named by its clause, or stands below
 * with the reason why nothing here must meet it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** Section, with all below it → why it asks nothing of us. */
const NOT_APPLICABLE: Readonly<Record<string, string>> = {
  '2.6.1': 'VIRTIO_F_RING_RESET is not offered',
  '2.8': 'VIRTIO_F_RING_PACKED is not offered: queues are split',
  '2.10': 'no device has shared memory regions; their registers say so (mmio-registers.test.ts)',
  '4.1': 'there is no PCI bus',
  '4.3': 'there is no channel I/O: that is s390',
  '5.1.6.5.7.3': 'VIRTIO_NET_F_RSS is not offered (virtio-net.test.ts; why: src/devices/net/device.ts)',
  '5.3.6.2': 'VIRTIO_CONSOLE_F_MULTIPORT is not offered',
};

/** Section of a device type that is not here → the folder of src/devices that would change that. */
const ABSENT: Readonly<Record<string, string>> = {
  '5.5': 'balloon',
  '5.6': 'scsi',
  '5.7': 'gpu',
  '5.8': 'input',
  '5.9': 'crypto',
  '5.11': 'fs',
  '5.12': 'rpmb',
  '5.13': 'iommu',
  '5.14': 'sound',
  '5.15': 'mem',
  '5.16': 'i2c',
  '5.17': 'scmi',
  '5.18': 'gpio',
  '5.19': 'pmem',
};

const HERE = import.meta.dirname;
const required = readFileSync(join(HERE, 'virtio-1.2-sections.txt'), 'utf8')
  .trim()
  .split('\n')
  .filter((line) => line.includes('Device Requirements'))
  .map((line) => line.split('\t')[0]!);
const tested = new Set(
  readdirSync(HERE)
    .filter((name) => /^virtio-.*\.test\.ts$/.test(name))
    .flatMap((name) => [...readFileSync(join(HERE, name), 'utf8').matchAll(/describe\('§([\d.]+) /g)])
    .map(([, section]) => section!),
);
const isWithin = (section: string, of: string): boolean => section === of || section.startsWith(`${of}.`);
const excuses = [...Object.keys(NOT_APPLICABLE), ...Object.keys(ABSENT)];

describe('device requirements of virtio 1.2', () => {
  it('are found in the list of sections', () => {
    expect(required.length).toBeGreaterThan(90);
    expect(required).toContain('2.7.7.2');
  });

  it.each(required)('§%s is tested, or does not apply', (section) => {
    const excused = excuses.filter((of) => isWithin(section, of));
    expect(Number(tested.has(section)) + excused.length).toBe(1);
  });

  it('are all that tests are named after', () => {
    expect([...tested].filter((section) => !required.includes(section))).toEqual([]);
    expect(tested.size).toBeGreaterThan(12);
  });

  it('are excused by nothing that excuses none of them', () => {
    expect(excuses.filter((of) => !required.some((section) => isWithin(section, of)))).toEqual([]);
  });

  it.each(Object.entries(ABSENT))('§%s is a device that is not here: %s', (_section, folder) => {
    expect(existsSync(join(HERE, '../../src/devices', folder, 'device.ts'))).toBe(false);
  });
});
