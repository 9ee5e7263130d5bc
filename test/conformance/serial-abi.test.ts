/** The 16550's registers and bits against <linux/serial_reg.h>, by one C program. */
import { describe, expect, it } from 'vitest';
import * as registers from '../../src/devices/legacy/serial-registers.js';
import { evaluateC } from '../support/compile.js';

const { REG, IER, IIR, FCR, LCR, MCR, LSR, MSR } = registers;
/** Two of ours that the header calls otherwise; ALL are masks of our own, tested below. */
const NAMES: Readonly<Record<string, string>> = {
  RBR: 'UART_RX',
  THR: 'UART_TX',
  IIR_NONE: 'UART_IIR_NO_INT',
  IIR_TIMEOUT: 'UART_IIR_RX_TIMEOUT',
  FCR_ENABLE: 'UART_FCR_ENABLE_FIFO',
  FCR_CLEAR_RX: 'UART_FCR_CLEAR_RCVR',
};
const groups = { IER, IIR, FCR, LCR, MCR, LSR, MSR } as const;
const claims = new Map<string, number>();
for (const [name, offset] of Object.entries(REG)) claims.set(NAMES[name] ?? `UART_${name}`, offset);
for (const [group, bits] of Object.entries(groups)) {
  for (const [bit, value] of Object.entries(bits)) {
    if (bit === 'ALL' || bit === 'FIFOS') continue;
    claims.set(NAMES[`${group}_${bit}`] ?? `UART_${group}_${bit}`, value);
  }
}

describe('the UART', () => {
  const actual = evaluateC(['linux/serial_reg.h'], [...claims.keys()]);

  it.each([...claims])('%s is %i', (name, value) => {
    expect(Number(actual.get(name))).toBe(value);
  });

  it('covers every group of bits that the device uses', () => {
    expect(Object.keys(registers).sort()).toEqual(['REG', ...Object.keys(groups)].sort());
    expect(claims.size).toBeGreaterThan(30);
  });

  it('has masks that are the sum of their bits', () => {
    const { ALL: interrupts, ...enables } = IER;
    const { ALL: outputs, ...lines } = MCR;
    const sum = (bits: object): number =>
      Object.values(bits).reduce((total: number, bit: number) => total | bit, 0);
    expect([interrupts, outputs]).toEqual([sum(enables), sum(lines)]);
  });
});
