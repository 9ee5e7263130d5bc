import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { SerialPort } from '../../../../src/devices/legacy/serial.js';
import { FCR, IER, IIR, LCR, LSR, MCR, MSR, REG } from '../../../../src/devices/legacy/serial-registers.js';
import { COM1, Uart } from '../../../support/uart.js';

const QUEUE = 4096;
/** FCR[7:6] for trigger levels 1, 4, 8 and 14. */
const trigger = (index: number): number => FCR.ENABLE | (index << 6);
/** The cause alone, without the bits that say "FIFOs are on". */
const cause = (uart: Uart): number => uart.read(REG.IIR) & 0x0f;

describe.each([true, false])('a UART, LSR and THR on the register page: %s', (page) => {
  const create = (options: { holdInput?: boolean } = {}): Uart => new Uart({ page, ...options });

  describe('sending', () => {
    it('hands bytes to the host at once, in order', () => {
      const uart = create();
      for (const char of 'hello\n') uart.write(REG.THR, char.charCodeAt(0));
      uart.page?.deliver();
      expect(uart.output).toBe('hello\n');
    });

    it('is always ready for more', () => {
      const uart = create();
      expect(uart.read(REG.LSR)).toBe(LSR.THRE | LSR.TEMT);
      uart.write(REG.THR, 0x41);
      expect(uart.read(REG.LSR)).toBe(LSR.THRE | LSR.TEMT);
    });

    it('takes all eight bits of a byte', () => {
      const uart = create();
      for (const byte of [0, 0x80, 0xff]) uart.write(REG.THR, byte);
      uart.page?.deliver();
      expect(Buffer.from(uart.output, 'latin1')).toEqual(Buffer.from([0, 0x80, 0xff]));
    });
  });

  describe('the transmitter interrupt (§8.5, §8.7)', () => {
    it('comes when it is enabled, because the transmitter is empty', () => {
      const uart = create();
      uart.write(REG.IER, IER.THRI);
      expect(uart.takeInterrupts()).toBe(1);
      expect(cause(uart)).toBe(IIR.THRI);
    });

    it('is gone once IIR told it, until something is sent', () => {
      const uart = create();
      uart.write(REG.IER, IER.THRI);
      cause(uart);
      expect(cause(uart)).toBe(IIR.NONE);
      uart.takeInterrupts();
      uart.write(REG.THR, 0x41);
      uart.page?.deliver();
      expect(uart.takeInterrupts()).toBe(1);
      expect(cause(uart)).toBe(IIR.THRI);
      expect(cause(uart)).toBe(IIR.NONE);
    });

    it('does not come again when it was enabled already', () => {
      const uart = create();
      uart.write(REG.IER, IER.THRI);
      cause(uart);
      uart.takeInterrupts();
      uart.write(REG.IER, IER.THRI | IER.RDI);
      expect(uart.takeInterrupts()).toBe(0);
      expect(cause(uart)).toBe(IIR.NONE);
    });

    it('does not come while it is disabled', () => {
      const uart = create();
      uart.write(REG.THR, 0x41);
      uart.page?.deliver();
      expect(uart.takeInterrupts()).toBe(0);
      expect(cause(uart)).toBe(IIR.NONE);
      uart.write(REG.IER, IER.THRI);
      uart.write(REG.IER, 0);
      expect(cause(uart)).toBe(IIR.NONE);
    });

    it('is not acknowledged by an IIR that tells received data first', () => {
      const uart = create();
      uart.write(REG.IER, IER.THRI | IER.RDI);
      uart.type('x');
      expect(cause(uart)).toBe(IIR.RDI);
      expect(cause(uart)).toBe(IIR.RDI);
      uart.read(REG.RBR);
      expect(cause(uart)).toBe(IIR.THRI);
    });
  });

  describe('receiving', () => {
    it('says "data ready" while there is some, and gives it in order', () => {
      const uart = create();
      expect(uart.read(REG.LSR) & LSR.DR).toBe(0);
      expect(uart.type('abc')).toBe(3);
      expect(uart.read(REG.LSR) & LSR.DR).toBe(LSR.DR);
      expect([0, 1, 2].map(() => String.fromCharCode(uart.read(REG.RBR)))).toEqual(['a', 'b', 'c']);
      expect(uart.read(REG.LSR) & LSR.DR).toBe(0);
      expect(uart.read(REG.RBR)).toBe(0);
    });

    it('interrupts once for a line of input, when the driver asked for it', () => {
      const uart = create();
      uart.type('a');
      expect(uart.takeInterrupts()).toBe(0);
      uart.write(REG.IER, IER.RDI);
      expect(uart.takeInterrupts()).toBe(1);
      uart.type('bc');
      expect(uart.takeInterrupts()).toBe(0); // the line is still high
      expect(uart.drain()).toBe('abc');
      expect(cause(uart)).toBe(IIR.NONE);
      uart.type('d');
      expect(uart.takeInterrupts()).toBe(1);
    });

    it.each([
      [0, 1],
      [1, 4],
      [2, 8],
      [3, 14],
    ])(
      'with trigger %i tells "received data" from %i bytes on and the timeout below (§8.4)',
      (index, level) => {
        const uart = create();
        uart.write(REG.FCR, trigger(index));
        uart.write(REG.IER, IER.RDI);
        uart.type('x'.repeat(level));
        expect(uart.read(REG.IIR)).toBe(IIR.RDI | IIR.FIFOS);
        uart.read(REG.RBR);
        expect(uart.read(REG.IIR)).toBe(level === 1 ? IIR.NONE | IIR.FIFOS : IIR.TIMEOUT | IIR.FIFOS);
        expect(uart.drain().length).toBe(level - 1);
        expect(uart.read(REG.IIR)).toBe(IIR.NONE | IIR.FIFOS);
      },
    );

    it('without FIFOs never tells the timeout', () => {
      const uart = create();
      uart.write(REG.FCR, 3 << 6);
      uart.write(REG.IER, IER.RDI);
      uart.type('x');
      expect(uart.read(REG.IIR)).toBe(IIR.RDI);
    });
  });

  describe('clearing the FIFO (§8.4)', () => {
    it('throws away the sixteen bytes in it; later ones are still on the wire', () => {
      const uart = create();
      uart.write(REG.FCR, trigger(0));
      uart.type('0123456789abcdefREST');
      uart.write(REG.FCR, trigger(0) | FCR.CLEAR_RX);
      expect(uart.drain()).toBe('REST');
    });

    it('throws away one byte when there is no FIFO', () => {
      const uart = create();
      uart.type('ab');
      uart.write(REG.FCR, FCR.CLEAR_RX);
      expect(uart.drain()).toBe('b');
    });

    it('happens when FIFOs are switched on or off, and only then', () => {
      const uart = create();
      uart.write(REG.FCR, trigger(0));
      uart.type('abc');
      uart.write(REG.FCR, trigger(2));
      expect(uart.read(REG.LSR) & LSR.DR).toBe(LSR.DR);
      uart.write(REG.FCR, 0);
      expect(uart.read(REG.LSR) & LSR.DR).toBe(0);
      expect(uart.read(REG.IIR) & IIR.FIFOS).toBe(0);
    });
  });

  describe('back-pressure', () => {
    it('takes 4096 bytes, then none until the guest has read half of them', () => {
      const uart = create();
      let room = 0;
      uart.port.onRoom = () => void (room += 1);
      expect(uart.type('x'.repeat(QUEUE + 100))).toBe(QUEUE);
      expect(uart.type('y')).toBe(0);
      uart.drain(QUEUE / 2 - 1);
      expect(room).toBe(0);
      uart.drain(1);
      expect(room).toBe(1);
      expect(uart.type('y'.repeat(QUEUE))).toBe(QUEUE / 2);
    });

    it('tells of room when the guest throws input away', () => {
      const uart = create();
      uart.write(REG.FCR, trigger(0));
      uart.type('x'.repeat(QUEUE));
      uart.drain(QUEUE / 2);
      let room = 0;
      uart.port.onRoom = () => void (room += 1);
      uart.drain(QUEUE / 2 - 8);
      uart.write(REG.FCR, trigger(0) | FCR.CLEAR_RX);
      expect(uart.read(REG.LSR) & LSR.DR).toBe(0);
      expect(room).toBe(1);
    });

    it('refills from within onRoom', () => {
      const uart = create();
      const text = Array.from({ length: 20_000 }, (_, index) => String.fromCharCode(32 + (index % 90))).join(
        '',
      );
      let at = 0;
      const feed = (): void => void (at += uart.type(text.slice(at)));
      uart.port.onRoom = feed;
      feed();
      expect(uart.drain(100_000)).toBe(text);
    });
  });

  describe('input for a guest that has not started its driver', () => {
    it('is held until receive interrupts are enabled and RTS is set, then asked for', () => {
      const uart = create({ holdInput: true });
      expect(uart.type('early')).toBe(0);
      let asked = 0;
      let rest = 'early';
      uart.port.onRoom = () => {
        asked += 1;
        rest = rest.slice(uart.type(rest));
      };
      uart.write(REG.FCR, trigger(0) | FCR.CLEAR_RX);
      uart.write(REG.IER, IER.THRI);
      expect(uart.read(REG.LSR) & LSR.DR).toBe(0);
      asked = 0;
      uart.takeInterrupts();
      cause(uart);
      uart.write(REG.IER, IER.RDI);
      expect(asked).toBe(0);
      uart.write(REG.MCR, MCR.DTR | MCR.OUT2);
      expect(asked).toBe(0);
      uart.write(REG.MCR, MCR.DTR | MCR.RTS | MCR.OUT2);
      expect(asked).toBe(1);
      expect(uart.takeInterrupts()).toBe(1);
      expect(uart.drain()).toBe('early');
    });

    it('is not held back again when the driver goes', () => {
      const uart = create({ holdInput: true });
      uart.write(REG.MCR, MCR.RTS | MCR.OUT2);
      uart.write(REG.IER, IER.RDI);
      uart.write(REG.IER, 0);
      uart.write(REG.MCR, 0);
      expect(uart.type('late')).toBe(4);
    });

    it('comes whole through the start-up of the 8250 driver of Linux 6.1', () => {
      const uart = create({ holdInput: true });
      const text =
        'echo "every byte of this is wanted" | tee /tmp/input # and it is more than a FIFO holds\n';
      let rest = text;
      uart.port.onRoom = () => void (rest = rest.slice(uart.type(rest)));
      // As recorded: the console's set-up, the search for the chip, the test of its interrupt, opening, new terminal settings.
      const start = `
        w1=00 w3=93 w0=0c w1=00 w3=13 w2=00 w4=01 r1 w1=00 r1 w1=0f r1 w1=00 r4 r3 w3=bf w2=00 w3=00 w2=01 r2 w3=13 w4=01
        w2=01 w2=07 w2=00 r0 w1=00 w4=01 w2=01 w2=07 w2=00 r0 r2 r6 w1=02 r2 w1=00 w1=02 r2 w1=00 w3=03 w4=09 w1=02 r2 w1=00
        r0 r2 r2 r6 w1=05 w3=93 w0=0c w1=00 w3=13 w2=01 w2=81 w4=09 w4=0b`;
      for (const [, what, register, value] of start.matchAll(/([rw])(\d)(?:=(\w\w))?/g)) {
        if (what === 'r') uart.read(Number(register));
        else uart.write(Number(register), Number.parseInt(value!, 16));
      }
      expect(uart.takeInterrupts()).toBeGreaterThan(0);
      expect(uart.drain()).toBe(text);
    });
  });

  it('tells anew of input behind a FIFO that was cleared', () => {
    const uart = create();
    uart.write(REG.FCR, FCR.ENABLE);
    uart.write(REG.IER, IER.RDI);
    uart.type('a'.repeat(16));
    uart.type('b');
    expect(uart.takeInterrupts()).toBe(1);
    uart.write(REG.FCR, FCR.ENABLE | FCR.CLEAR_RX);
    expect(uart.takeInterrupts()).toBe(1);
    expect(uart.drain()).toBe('b');
  });

  describe('the divisor latch (§8.2)', () => {
    it('takes the place of the first two registers while DLAB is set', () => {
      const uart = create();
      uart.write(REG.IER, IER.RDI);
      uart.type('i');
      uart.write(REG.LCR, LCR.DLAB | 3);
      expect([uart.read(0), uart.read(1)]).toEqual([0x0c, 0x00]); // 9600 baud, as firmware leaves it
      uart.write(0, 0x34);
      uart.write(1, 0x12);
      expect([uart.read(0), uart.read(1)]).toEqual([0x34, 0x12]);
      expect(uart.read(REG.LCR)).toBe(LCR.DLAB | 3);
      uart.write(REG.LCR, 3);
      uart.page?.deliver();
      expect(uart.output).toBe('');
      expect(uart.read(REG.IER)).toBe(IER.RDI);
      expect(uart.drain()).toBe('i');
    });

    it('keeps bytes sent before and after it in order', () => {
      const uart = create();
      uart.write(REG.THR, 0x61);
      uart.write(REG.LCR, LCR.DLAB);
      uart.write(0, 0x01);
      uart.write(REG.LCR, 0);
      uart.write(REG.THR, 0x62);
      uart.page?.deliver();
      expect(uart.output).toBe('ab');
    });
  });

  describe('loopback (§8.6)', () => {
    it('gives sent bytes back, not to the host', () => {
      const uart = create();
      uart.write(REG.THR, 0x41);
      uart.write(REG.MCR, MCR.LOOP);
      uart.write(REG.THR, 0x42);
      uart.page?.deliver();
      expect(uart.output).toBe('A');
      expect(uart.drain()).toBe('B');
      uart.write(REG.MCR, 0);
      uart.write(REG.THR, 0x43);
      uart.page?.deliver();
      expect(uart.output).toBe('AC');
    });

    it('connects the modem outputs to the modem inputs (§8.8)', () => {
      const uart = create();
      const status = (outputs: number): number => {
        uart.write(REG.MCR, MCR.LOOP | outputs);
        return uart.read(REG.MSR);
      };
      expect(status(0)).toBe(0);
      expect(status(MCR.RTS)).toBe(MSR.CTS);
      expect(status(MCR.DTR)).toBe(MSR.DSR);
      expect(status(MCR.OUT1)).toBe(MSR.RI);
      expect(status(MCR.OUT2)).toBe(MSR.DCD);
      // What Linux's autoconfig wants to see (drivers/tty/serial/8250): OUT2 and RTS as DCD and CTS.
      expect(status(MCR.OUT2 | MCR.RTS)).toBe(MSR.DCD | MSR.CTS);
    });

    it('loops no more than the queue holds', () => {
      const uart = create();
      uart.write(REG.MCR, MCR.LOOP);
      for (let i = 0; i < QUEUE + 100; i += 1) uart.write(REG.THR, i & 0xff);
      expect(uart.drain(2 * QUEUE).length).toBe(QUEUE);
    });
  });

  describe('other registers', () => {
    it('show a terminal that is attached and ready', () => {
      expect(create().read(REG.MSR)).toBe(MSR.CTS | MSR.DSR | MSR.DCD);
    });

    it('keep what is written, as far as the bits exist', () => {
      const uart = create();
      for (const register of [REG.IER, REG.LCR, REG.MCR, REG.SCR]) uart.write(register, 0x7f);
      expect(uart.read(REG.IER)).toBe(0x0f);
      expect(uart.read(REG.LCR)).toBe(0x7f);
      expect(uart.read(REG.MCR)).toBe(0x1f);
      expect(uart.read(REG.SCR)).toBe(0x7f);
    });

    it('cannot be written where they are read-only', () => {
      const uart = create();
      uart.write(REG.LSR, 0);
      uart.write(REG.MSR, 0);
      expect(uart.read(REG.LSR)).toBe(LSR.THRE | LSR.TEMT);
      expect(uart.read(REG.MSR)).toBe(MSR.CTS | MSR.DSR | MSR.DCD);
    });
  });

  describe('the interrupt line', () => {
    it('is gated by OUT2, as on a PC: what waits is told when it is set', () => {
      const uart = create();
      uart.write(REG.MCR, 0);
      uart.write(REG.IER, IER.RDI);
      uart.type('x');
      expect(uart.takeInterrupts()).toBe(0);
      uart.write(REG.MCR, MCR.OUT2);
      expect(uart.takeInterrupts()).toBe(1);
      uart.write(REG.MCR, MCR.OUT2 | MCR.RTS);
      expect(uart.takeInterrupts()).toBe(0);
    });
  });
});

describe('a UART on the register page', () => {
  it('answers LSR and THR there, byte by byte only, and nothing else', () => {
    const { page } = new Uart({ page: true });
    expect(page!.read(COM1 + REG.LSR)).toBe(LSR.THRE | LSR.TEMT);
    expect(page!.read(COM1 + REG.LSR, 2)).toBeUndefined();
    expect(page!.write(COM1 + REG.THR, 0x41)).toBe(true);
    for (const register of [1, 2, 3, 4, 6, 7]) {
      expect(page!.read(COM1 + register)).toBeUndefined();
      expect(page!.write(COM1 + register, 0)).toBe(false);
    }
    expect(page!.read(COM1 + REG.RBR)).toBeUndefined();
  });

  it('keeps LSR there current while input comes and goes', () => {
    const uart = new Uart({ page: true });
    uart.type('a');
    expect(uart.page!.read(COM1 + REG.LSR)! & LSR.DR).toBe(LSR.DR);
    uart.read(REG.RBR);
    expect(uart.page!.read(COM1 + REG.LSR)! & LSR.DR).toBe(0);
  });

  it('takes THR off the page for the divisor latch and for loopback, and puts it back', () => {
    const uart = new Uart({ page: true });
    const posted = (): boolean => uart.page!.write(COM1 + REG.THR, 0x2e);
    expect(posted()).toBe(true);
    uart.write(REG.LCR, LCR.DLAB);
    expect(posted()).toBe(false);
    uart.write(REG.LCR, 0);
    uart.write(REG.MCR, MCR.LOOP);
    expect(posted()).toBe(false);
    uart.write(REG.LCR, LCR.DLAB);
    uart.write(REG.MCR, 0);
    expect(posted()).toBe(false);
    uart.write(REG.LCR, 0);
    expect(posted()).toBe(true);
  });

  it('takes posted bytes before one that comes by the bus', () => {
    const uart = new Uart({ page: true });
    uart.write(REG.THR, 0x61);
    uart.port.write(REG.THR, Uint8Array.of(0x62)); // as when the ring is full
    expect(uart.output).toBe('ab');
  });

  it('does not let a guest that never stops posting hold the event loop', async () => {
    const uart = new Uart({ page: true });
    let posted = 0;
    const more = (): void => {
      if (posted < 1000 && uart.page!.write(COM1 + REG.THR, 0x2e)) posted += 1;
    };
    uart.onOutput = more; // another vCPU, as fast as we are
    more();
    uart.page!.deliver();
    expect(uart.output.length).toBeLessThan(10);
    for (let turns = 0; turns < 1000 && uart.output.length < 1000; turns += 1) await turn();
    expect(uart.output).toBe('.'.repeat(1000));
  });

  it('does not lose a byte that was posted before loopback began', () => {
    const uart = new Uart({ page: true });
    uart.write(REG.THR, 0x61);
    uart.write(REG.MCR, MCR.LOOP);
    expect(uart.output).toBe('a');
    expect(uart.drain()).toBe('');
  });
});

describe('an access wider than a byte', () => {
  it('reads the register and zeros, and writes its low byte', () => {
    const sent: number[] = [];
    const port = new SerialPort({
      base: COM1,
      irq: { raise() {} },
      onOutput: (bytes) => void sent.push(...bytes),
      holdInput: false,
    });
    const data = Uint8Array.of(9, 9, 9, 9);
    port.read(REG.LSR, data);
    expect([...data]).toEqual([LSR.THRE | LSR.TEMT, 0, 0, 0]);
    port.write(REG.THR, Uint8Array.of(1, 2));
    expect(sent).toEqual([1]);
  });
});
