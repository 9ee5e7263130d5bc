/**
 * The ACPI tables read by ACPICA's own compiler: it takes all of them apart without a complaint and makes the same of the
 * parts; and the DSDT is what it makes of ASL written by hand.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { AcpiDescription } from '../../src/boot/acpi/description.js';
import { acpiTables } from '../../src/boot/acpi/tables.js';
import { IRQ, VIRTIO_GSIS, VIRTIO_MMIO } from '../../src/boot/layout.js';
import { ACPI_PM } from '../../src/devices/legacy/acpi-pm.js';

const hasIasl = spawnSync('iasl', ['-v']).status === 0;
if (!hasIasl) process.stdout.write('skipped: the ACPI tables in iasl: apt-get install acpica-tools\n');
const folder = mkdtempSync(join(tmpdir(), 'typevisor-acpi-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Compiler id and revision, and the checksum that covers them. */
const HEADER_OF_THE_COMPILER = new Set([9, 28, 29, 30, 31, 32, 33, 34, 35]);

function iasl(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('iasl', args, { cwd: folder, encoding: 'utf8' });
  const output = stdout + stderr;
  expect(status, output).toBe(0);
  return output;
}

const machine = (cpus: number, devices: number): AcpiDescription => ({
  cpus,
  virtio: VIRTIO_GSIS.slice(0, devices).map((gsi, index) => ({ base: VIRTIO_MMIO + index * 0x1000, gsi })),
  serial: { port: 0x3f8, gsi: IRQ.COM1 },
  rtc: { port: 0x70 },
  power: { ...ACPI_PM, gsi: IRQ.GED },
});

/** Where two tables differ but for what the compiler says of itself. */
function differences(ours: Uint8Array, compiled: Uint8Array): number[] {
  expect(compiled.length).toBe(ours.length);
  return [...ours.keys()].filter((at) => ours[at] !== compiled[at] && !HEADER_OF_THE_COMPILER.has(at));
}

describe.skipIf(!hasIasl)('the DSDT', () => {
  it('is the AML of acpi-dsdt.asl', () => {
    // -oa: no optimisation of names, which are ours to choose.
    const output = iasl('-oa', '-p', join(folder, 'ours'), join(import.meta.dirname, 'acpi-dsdt.asl'));
    expect(output).toContain('0 Errors, 0 Warnings, 0 Remarks');
    const { bytes } = acpiTables(machine(2, 2)).find(({ name }) => name === 'DSDT')!;
    expect(differences(bytes, readFileSync(join(folder, 'ours.aml')))).toEqual([]);
  });
});

describe.skipIf(!hasIasl).each([
  [1, 0],
  [2, 3],
  [32, VIRTIO_GSIS.length],
])('the ACPI tables of %i vCPUs and %i virtio devices', (cpus, devices) => {
  const tables = acpiTables(machine(cpus, devices));

  it.each(tables.filter(({ name }) => name !== 'RSDP'))(
    'are taken apart by iasl: $name',
    ({ name, bytes }) => {
      writeFileSync(join(folder, `${name}.dat`), bytes);
      const output = iasl('-d', `${name}.dat`);
      const text = readFileSync(join(folder, `${name}.dsl`), 'utf8');
      for (const complaint of [/warning/i, /\berror/i, /invalid/i, /unknown/i, /unresolved/i, /incorrect/i]) {
        expect(output).not.toMatch(complaint);
        expect(text).not.toMatch(complaint);
      }
    },
  );

  it('come out of iasl the same as they went in', () => {
    for (const { name, bytes } of tables) {
      if (name === 'RSDP' || name === 'XSDT') continue; // iasl compiles neither from our addresses
      writeFileSync(join(folder, `${name}.dat`), bytes);
      iasl('-d', `${name}.dat`);
      const output = iasl('-oa', '-p', 'again', `${name}.dsl`);
      expect(output).toContain('0 Errors, 0 Warnings, 0 Remarks');
      expect(differences(bytes, readFileSync(join(folder, 'again.aml')))).toEqual([]);
    }
  });
});
