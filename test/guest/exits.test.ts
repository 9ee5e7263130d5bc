/** What guests do that makes KVM leave them, and how the monitor answers. */
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { longGuest, realGuest, runToEnd, SPIN } from '../support/bare.js';

const print = (text: string): string =>
  [...text].map((char) => `mov al, ${char.charCodeAt(0)}\n out dx, al`).join('\n');

describe('a bare guest', () => {
  it('runs in real mode and ends with its own exit code', async () => {
    const { exit } = await runToEnd(await realGuest('mov al, 7\n out 0xf4, al\n hlt'));
    expect(exit).toMatchObject({ reason: 'exit', code: 7 });
  });

  it('runs in long mode and may give a 32-bit exit code', async () => {
    const { exit } = await runToEnd(await longGuest('mov eax, 0x12345\n out 0xf4, eax\n hlt'));
    expect(exit).toMatchObject({ reason: 'exit', code: 0x1_2345 });
  });

  it('ends with 0 when it halts', async () => {
    const { exit } = await runToEnd(await realGuest('hlt'));
    expect(exit).toMatchObject({ reason: 'exit', code: 0 });
  });

  it('writes to COM1 through the register page, in order', async () => {
    const text = 'a guest that says something';
    const vm = await realGuest(`mov dx, 0x3f8\n${print(text)}\n hlt`);
    const { output } = await runToEnd(vm);
    expect(output).toBe(text);
    expect(vm.stats().exits['page']).toBe(text.length);
  });

  it('writes to the debug port, also with one REP OUTSB', async () => {
    const source = `
      mov si, offset text
      mov cx, 6
      mov dx, 0xe9
      cld
      rep outsb
      hlt
      text: .ascii "debug\\n"`;
    expect((await runToEnd(await realGuest(source))).output).toBe('debug\n');
  });

  it('reads all ones where no device is, of each width', async () => {
    const source = `
      mov dx, 0x5670
      in al, dx
      cmp al, 0xff
      jne bad
      in ax, dx
      cmp ax, 0xffff
      jne bad
      in eax, dx
      cmp eax, 0xffffffff
      jne bad
      mov al, 1
      out 0xf4, al
      bad: hlt`;
    const vm = await realGuest(source);
    expect((await runToEnd(vm)).exit.code).toBe(1);
    expect(vm.stats().unclaimed).toEqual({ 'pio 0x5670': 3 });
  });

  it('reads all ones from memory that is not there', async () => {
    // 1 MiB of RAM in a long-mode identity map: the second MiB is an MMIO access that nobody claims.
    const source = 'mov eax, [0x380000]\n not eax\n out 0xf4, eax\n hlt';
    const vm = await longGuest(source, { memory: '2M' });
    const { exit } = await runToEnd(vm);
    expect(exit.code).toBe(0);
    expect(vm.stats().unclaimed).toEqual({ 'mmio 0x38_0000': 1 });
  });

  it('echoes what it receives on COM1', async () => {
    const source = `
      again: mov dx, 0x3fd
      wait: in al, dx
      test al, 1
      jz wait
      mov dx, 0x3f8
      in al, dx
      cmp al, 'q'
      je quit
      out dx, al
      jmp again
      quit: hlt`;
    const vm = await realGuest(source);
    const end = runToEnd(vm);
    vm.serial.write('echo these 40 bytes, more than one FIFO!q');
    expect((await end).output).toBe('echo these 40 bytes, more than one FIFO!');
  });

  it('resets the machine through the keyboard controller and through port 0x92', async () => {
    for (const source of ['mov al, 0xfe\n out 0x64, al\n hlt', 'mov al, 1\n out 0x92, al\n hlt']) {
      expect((await runToEnd(await realGuest(source))).exit).toMatchObject({ reason: 'reboot', code: 0 });
    }
  });

  it('marks the end of its boot on the boot timer', async () => {
    // The identity map ends at 1 GiB: the guest maps the gap's first 2 MiB there, through a page directory of its own.
    const source = `
      mov eax, 0xc0000083
      mov [0x180000], rax
      mov eax, 0x180003
      mov [0xa008], rax
      mov rbx, 0x40000000
      mov byte ptr [rbx], 123
      hlt`;
    const mapped = await longGuest(source);
    await runToEnd(mapped);
    expect(mapped.stats().phases.booted).toBeGreaterThan(0);
  });
});

describe('a guest that goes wrong', () => {
  it('triple-faults: reported with registers and the instruction', async () => {
    const { exit } = await runToEnd(await longGuest('ud2'));
    expect(exit).toMatchObject({ reason: 'triple-fault', code: 72 });
    const { registers, instruction } = exit.crash!;
    if (existsSync('/sys/module/kvm_amd')) {
      expect(exit.hint).toMatch(/lost the registers/);
      expect(exit.crash).toMatchObject({ registers: [], instruction: undefined });
      return;
    }
    expect(registers.join('\n')).toMatch(/^RIP +0x0000000000100000$/m);
    expect(Buffer.from(instruction!).toString('hex')).toMatch(/^0f0b/);
  });

  it('runs into memory that is not there: KVM gives up, and the report says where', async () => {
    // FFFF:0010 is the first byte above 1 MiB; nothing is there to execute.
    const { exit } = await runToEnd(await realGuest('ljmp 0xffff, 0x10'));
    expect(exit).toMatchObject({ reason: 'kvm-error', code: 72 });
    expect(exit.crash?.summary).toContain('KVM');
    expect(exit.crash?.registers.length).toBeGreaterThan(16);
  });

  it('halts with interrupts off: noticed, though KVM does not tell', async () => {
    const { exit } = await runToEnd(await longGuest('cli\n hlt', { irqchip: true }));
    expect(exit).toMatchObject({ reason: 'halted', code: 72 });
    expect(exit.crash?.registers.join('\n')).toContain('RIP    0x0000000000100002');
  });

  it('spins: the time limit ends it', async () => {
    const { exit } = await runToEnd(await realGuest(SPIN, { timeouts: { run: 150 } }));
    expect(exit).toMatchObject({ reason: 'timeout', code: 124 });
  });

  it('writes for ever: the time limit ends it, and memory stays bounded', async () => {
    const vm = await realGuest('mov dx, 0x3f8\n mov al, 46\n cld\n 1: mov cx, 0x8000\n rep outsb\n jmp 1b', {
      timeouts: { run: 1500 },
    });
    await vm.start();
    await vm.exited;
    expect(await vm.exited).toMatchObject({ reason: 'timeout' });
    expect(vm.stats().serial.bytes).toBeGreaterThan(1000);
    expect(vm.serial.readableLength).toBeLessThan(2 * 2 ** 20);
  });
});
