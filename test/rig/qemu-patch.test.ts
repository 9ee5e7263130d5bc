import { expect, test } from 'vitest';
import { steady } from './qemu-patch.js';

/** What gcc made of the two places in Debian's 7.2. */
const REQUEST = Buffer.from(
  '818b28edffff00010000' + // or dword [rbx-0x12d8], 0x100
    'f683b200000020', // test byte [rbx+0xb2], 0x20
  'hex',
);
const INJECTION = Buffer.from(
  '89b354efffff' + // mov [rbx-0x10ac], esi
    'c7838433000000000000' + // mov dword [rbx+0x3384], 0
    '48c78388330000ffffffff' + // mov qword [rbx+0x3388], -1
    'f605ba45b60002' + // test byte [rip+0xb645ba], 2
    '0f856c010000' + // jne
    'ba01000000' + // mov edx, 1
    '4889dfe8', // mov rdi, rbx; call
  'hex',
);
const program = (...parts: Buffer[]): Buffer =>
  Buffer.concat([Buffer.alloc(100, 0x90), ...parts, Buffer.alloc(50, 0xcc)]);
const withHex = (bytes: Buffer, from: string, to: string): Buffer =>
  Buffer.from(bytes.toString('hex').replace(from, to), 'hex');

test('locks the request, leaves the vector out, and changes nothing else', () => {
  const locked = withHex(REQUEST, '818b28edffff00010000', 'f0808b29edffff016690');
  const silent = withHex(INJECTION, '89b354efffff', '660f1f440000');
  expect(steady(program(REQUEST, INJECTION))).toEqual(program(locked, silent));
});

test.each([
  ['has neither place', program()],
  ['has one', program(INJECTION)],
  ['has one twice', program(REQUEST, INJECTION, INJECTION)],
  ['stores the vector above env', program(REQUEST, withHex(INJECTION, '54efffff', '54ef0000'))],
])('leaves a program alone that %s', (_, bytes) => {
  expect(steady(bytes)).toBeUndefined();
});
