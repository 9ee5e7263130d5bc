/** Flat real-mode guests that tests of the command run, as assembly. */

/** Sends back every byte it gets on COM1; ends with 9 at Ctrl-D. */
export const ECHO = `
  again: mov dx, 0x3fd
  wait: in al, dx
  test al, 1
  jz wait
  mov dx, 0x3f8
  in al, dx
  cmp al, 4
  je quit
  out dx, al
  jmp again
  quit: mov al, 9
  out 0xf4, al`;

/** Writes, at Ctrl-D, the 16-bit sum of all bytes it got, low byte first; then ends with 0. */
export const COUNTING = `
  xor bx, bx
  xor ah, ah
  again: mov dx, 0x3fd
  wait: in al, dx
  test al, 1
  jz wait
  mov dx, 0x3f8
  in al, dx
  cmp al, 4
  je quit
  add bx, ax
  jmp again
  quit: mov al, bl
  out dx, al
  mov al, bh
  out dx, al
  xor al, al
  out 0xf4, al`;

/** Says "!" on the console, then spins for ever. */
export const SPIN = 'mov dx, 0x3f8\n mov al, 33\n out dx, al\n 1: jmp 1b';

/**
 * Writes `bytes` bytes, a multiple of 64 KiB or endlessly, then ends with 5. On the debug port, four bytes an exit: byte by
 * byte would take an emulator's time for nothing.
 */
export const flood = (bytes: number): string => {
  const rounds = Number.isFinite(bytes) ? bytes / 0x1_0000 : 0;
  const count = rounds > 0 ? `dec bx\n jnz 1b\n mov al, 5\n out 0xf4, al` : 'jmp 1b';
  return `cld\n mov dx, 0xe9\n mov bx, ${rounds}\n 1: mov cx, 0x4000\n rep outsd\n ${count}`;
};
