/**
 * The Differentiated System Description Table (ACPI 6.5 §5.2.11.1): every device that a guest cannot find by itself, in
 * AML. Names and ids are the ones drivers look for.
 */
import type { Gpa } from '../../base/units.js';
import * as aml from './aml.js';
import type { AcpiDescription } from './description.js';
import { interrupt, io, memory32Fixed, resourceTemplate } from './resources.js';
import { HEADER_SIZE, Table } from './table.js';

/** 2 and above: integers of 64 bits. */
const REVISION = 2;
const VIRTIO_WINDOW = 0x1000; // bytes
const SERIAL_PORTS = 8;
const RTC_PORTS = 2;

/** Notify values: §5.6.6 table 5.161 for \_SB, §4.8.3.2 for the button; the last is VMGenID's own. */
const NOTIFY = { BUTTON_PRESSED: 0x80, GRACEFUL_SHUTDOWN: 0x81, NEW_GENERATION: 0x80 } as const;

/** @param generation address of the VM generation id, 16 bytes */
export function dsdt(description: AcpiDescription, generation: Gpa): Uint8Array {
  const { cpus, virtio, power } = description;
  const body = [
    ...aml.scope(
      '\\_SB',
      powerRegisters(description),
      ...Array.from({ length: cpus }, (_, index) => processor(index)),
      serial(description),
      rtc(description),
      generationId(generation),
      powerButton(),
      eventDevice(description),
      ...virtio.map((device, index) => virtioDevice(index, device)),
    ),
    // \_S5: SLP_TYPa and SLP_TYPb of soft off, two reserved (§7.4.2). Only the first counts here.
    ...aml.name('\\_S5', aml.pack(...[power.s5, 0, 0, 0].map(aml.integer))),
  ];
  const table = new Table({ signature: 'DSDT', revision: REVISION, length: HEADER_SIZE + body.length });
  table.set(HEADER_SIZE, body);
  return table.seal();
}

/** The registers that AML itself uses; and a word to the monitor that from now on somebody listens to events. */
function powerRegisters({ power: { base, length, offsets } }: AcpiDescription): aml.Aml {
  const elements = [
    { name: 'LSTN', at: offsets.LISTENING },
    { name: 'EVTS', at: offsets.EVENTS },
  ].sort((a, b) => a.at - b.at);
  let end = 0;
  const fields = elements.flatMap(({ name, at }) => {
    const gap = at - end;
    end = at + 1;
    return [...(gap > 0 ? [{ bits: 8 * gap }] : []), { name, bits: 8 }];
  });
  return [
    ...aml.operationRegion('PMIO', aml.REGION.SYSTEM_IO, base, length),
    ...aml.field('PMIO', ...fields),
    ...aml.method('_INI', 0, aml.store(aml.integer(1), aml.path('LSTN'))),
  ];
}

/** §8.4: what the MADT lists has a place in the name space too; newer kernels call it a firmware bug otherwise. */
const processor = (index: number): aml.Aml =>
  aml.device(
    numbered('C', index),
    aml.name('_HID', aml.string('ACPI0007')),
    aml.name('_UID', aml.integer(index)),
  );

const serial = ({ serial: { port, gsi } }: AcpiDescription): aml.Aml =>
  aml.device(
    'COM1',
    aml.name('_HID', aml.eisaId('PNP0501')),
    aml.name('_UID', aml.integer(0)),
    aml.name('_CRS', resourceTemplate(io(port, SERIAL_PORTS), interrupt(gsi))),
  );

/** The clock has no interrupt, and a guest that is not told so takes a PC's 8 and fails. */
const rtc = ({ rtc: { port } }: AcpiDescription): aml.Aml =>
  aml.device(
    'RTC',
    aml.name('_HID', aml.eisaId('PNP0B00')),
    aml.name('_CRS', resourceTemplate(io(port, RTC_PORTS))),
  );

/**
 * Microsoft's "Virtual Machine Generation ID": 16 bytes in memory that change when a VM goes on from a snapshot, so that
 * it does not give out the same random numbers twice. VMGENCTR is the id's second form: the first is too long for ACPI.
 */
const generationId = (at: Gpa): aml.Aml =>
  aml.device(
    'VGEN',
    aml.name('_HID', aml.string('TYVS0001')),
    aml.name('_CID', aml.pack(aml.string('VM_Gen_Counter'), aml.string('VMGENCTR'))),
    aml.name('_DDN', aml.string('VM_Gen_Counter')),
    aml.name('ADDR', aml.pack(aml.integer(at % 2 ** 32), aml.integer(Math.floor(at / 2 ** 32)))),
  );

const powerButton = (): aml.Aml => aml.device('PWRB', aml.name('_HID', aml.eisaId('PNP0C0C')));

/** The Generic Event Device, §5.6.9: one interrupt; which events came is in a register that is cleared by reading. */
function eventDevice({ power: { gsi, events } }: AcpiDescription): aml.Aml {
  const pending = aml.local(0);
  const on = (bit: number, target: string, value: number): aml.Aml =>
    aml.when(aml.and(pending, aml.integer(bit)), aml.notify(aml.path(target), value));
  return aml.device(
    'GED',
    aml.name('_HID', aml.string('ACPI0013')),
    aml.name('_UID', aml.integer(0)),
    aml.name('_CRS', resourceTemplate(interrupt(gsi))),
    aml.method(
      '_EVT',
      1,
      aml.store(aml.path('EVTS'), pending),
      on(events.POWER_BUTTON, '\\_SB.PWRB', NOTIFY.BUTTON_PRESSED),
      on(events.SHUTDOWN_REQUEST, '\\_SB', NOTIFY.GRACEFUL_SHUTDOWN),
      on(events.NEW_GENERATION, '\\_SB.VGEN', NOTIFY.NEW_GENERATION),
    ),
  );
}

/** LNRO0005 is what Linux's virtio-mmio driver looks for; _CCA says that DMA sees the caches (§6.2.17). */
const virtioDevice = (
  index: number,
  { base, gsi }: { readonly base: number; readonly gsi: number },
): aml.Aml =>
  aml.device(
    numbered('V', index),
    aml.name('_HID', aml.string('LNRO0005')),
    aml.name('_UID', aml.integer(index)),
    aml.name('_CCA', aml.integer(1)),
    aml.name('_CRS', resourceTemplate(memory32Fixed(base, VIRTIO_WINDOW), interrupt(gsi))),
  );

/** `C01F`: a letter and three hex digits. */
const numbered = (letter: string, index: number): string =>
  `${letter}${index.toString(16).toUpperCase().padStart(3, '0')}`;
