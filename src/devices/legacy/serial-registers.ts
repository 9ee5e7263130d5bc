/**
 * The registers of a 16550A and the bits that mean something here (PC16550D data sheet §8; <linux/serial_reg.h>, against which
 * a conformance test checks them).
 */

/** Register offsets, §8.0; DLL and DLM replace the first two while LCR.DLAB is set. */
export const REG = {
  RBR: 0,
  THR: 0,
  IER: 1,
  IIR: 2,
  FCR: 2,
  LCR: 3,
  MCR: 4,
  LSR: 5,
  MSR: 6,
  SCR: 7,
} as const;
/** Interrupt enable, §8.7: received data, transmitter empty, line status, modem status. */
export const IER = { RDI: 1 << 0, THRI: 1 << 1, RLSI: 1 << 2, MSI: 1 << 3, ALL: 0x0f } as const;
/** Interrupt identification, §8.5. */
export const IIR = {
  NONE: 0x01,
  MSI: 0x00,
  THRI: 0x02,
  RDI: 0x04,
  RLSI: 0x06,
  TIMEOUT: 0x0c,
  FIFOS: 0xc0,
} as const;
/** FIFO control, §8.4. */
export const FCR = { ENABLE: 1 << 0, CLEAR_RX: 1 << 1 } as const;
/** Line control, §8.1. */
export const LCR = { DLAB: 1 << 7 } as const;
/** Modem control, §8.6. */
export const MCR = { DTR: 1 << 0, RTS: 1 << 1, OUT1: 1 << 2, OUT2: 1 << 3, LOOP: 1 << 4, ALL: 0x1f } as const;
/** Line status, §8.3: data ready, transmit register empty, transmitter empty. */
export const LSR = { DR: 1 << 0, THRE: 1 << 5, TEMT: 1 << 6 } as const;
/** Modem status, §8.8. */
export const MSR = { CTS: 1 << 4, DSR: 1 << 5, RI: 1 << 6, DCD: 1 << 7 } as const;
