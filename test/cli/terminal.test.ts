/** The command in a terminal: raw while the guest runs, as it was before when it has ended, however it ended. */
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { hasOpen, VMM } from '../support/command.js';
import { compileC } from '../support/compile.js';
import { Folder } from '../support/folder.js';
import { ECHO, SPIN } from '../support/programs.js';
import { Terminal } from '../support/terminal.js';

const folder = new Folder();
afterAll(() => folder[Symbol.dispose]());

const program = compileC(join(import.meta.dirname, '../support/pty.c'), join(folder.path, 'pty'), ['-lutil']);
const open = (...args: string[]): Terminal => new Terminal(program, [process.execPath, VMM, ...args]);

const CTRL = { C: '\x03', D: '\x04', Z: '\x1a', BACKSLASH: '\x1c', CLOSE_BRACKET: '\x1d' } as const;
/** Says that it is ready, then sends back what it gets, to the end at Ctrl-D. */
const echo = folder.guest('echo', `mov dx, 0x3f8\n mov al, 33\n out dx, al\n${ECHO}`);

describe('in a terminal', () => {
  it('every key reaches the guest as it is, Ctrl-C too, and the guest alone echoes', async () => {
    await using terminal = open('--flat', echo);
    const before = await terminal.mode();
    await terminal.shows('!');
    for (const setting of ['icanon', 'echo', 'isig']) expect(await terminal.has(setting)).toBe(false);
    const keys = `a\r${CTRL.C}${CTRL.Z}${CTRL.BACKSLASH}\x7f\x1b[Ab`;
    terminal.type(keys);
    await terminal.shows('\x1b[Ab');
    expect(terminal.shown).toBe(`!${keys}`);
    terminal.type(CTRL.D);
    expect(await terminal.ended).toBe('exit 9');
    expect(await terminal.mode()).toBe(before);
  });

  it('Ctrl-] leaves: what was typed before it arrives, what comes after it does not', async () => {
    await using terminal = open('--flat', echo);
    const before = await terminal.mode();
    await terminal.shows('!');
    terminal.type('ab');
    await terminal.shows('ab');
    terminal.type(`${CTRL.CLOSE_BRACKET}cd`);
    expect(await terminal.ended).toBe('exit 130');
    expect(await terminal.mode()).toBe(before);
    await terminal.hangUp();
    expect(terminal.shown).toBe('!ab');
  });

  it.each(['SIGTERM', 'SIGHUP', 'SIGINT'] as const)('%s gives the terminal its mode back', async (signal) => {
    await using terminal = open('--flat', folder.guest('spin', SPIN));
    const before = await terminal.mode();
    await terminal.shows('!');
    expect(await terminal.has('icanon')).toBe(false);
    process.kill(await terminal.pid(), signal);
    expect(await terminal.ended).toBe(`exit ${128 + constants.signals[signal]}`);
    expect(await terminal.mode()).toBe(before);
  });

  it('so does a crash of the guest, and its report is lines, not stairs', async () => {
    const lost = folder.guest('lost', 'mov dx, 0x3f8\n mov al, 72\n out dx, al\n ljmp 0xffff, 0x10');
    await using terminal = open('--flat', lost, '--memory', '1M');
    const before = await terminal.mode();
    expect(await terminal.ended).toBe('exit 72');
    expect(await terminal.mode()).toBe(before);
    await terminal.hangUp();
    expect(terminal.shown).toMatch(/^H\r?\n?vmm: KVM /);
    expect(terminal.shown).not.toMatch(/[^\r]\n/);
  });

  it('so does a refusal, which never makes it raw', async () => {
    await using terminal = open('--kernel', '/no/such/file');
    const before = await terminal.mode();
    expect(await terminal.ended).toBe('exit 66');
    expect(await terminal.mode()).toBe(before);
  });

  it('a terminal that hangs up ends the VM', async () => {
    await using terminal = open('--flat', folder.guest('spin', SPIN));
    await terminal.shows('!');
    const pid = await terminal.pid();
    expect(hasOpen(pid, '/dev/kvm')).toBe(true);
    await terminal.hangUp();
    while (hasOpen(pid, '/dev/kvm')) await sleep(10);
  });
});
