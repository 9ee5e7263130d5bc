/** Start, pause, resume, stop: of one VM and of many. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { gpa } from '../../src/base/units.js';
import { StateError, type VirtualMachine } from '../../src/index.js';
import { COUNT, longGuest, realGuest, runToEnd, SPIN } from '../support/bare.js';

const counter = (vm: VirtualMachine): number => vm.memory.readU32(gpa(0x8000));

describe('pause and resume', () => {
  it('stop the guest between two instructions and let it go on', async () => {
    await using vm = await realGuest(COUNT);
    await vm.start();
    await sleep(20);
    await vm.pause();
    expect(vm.state).toBe('paused');
    const before = counter(vm);
    expect(before).toBeGreaterThan(0);
    await sleep(20);
    expect(counter(vm)).toBe(before);
    await vm.resume();
    await sleep(20);
    expect(counter(vm)).toBeGreaterThan(before);
  });

  it('hold 500 times in a row without a lost kick, in guests that spin and in guests that exit', async () => {
    for (const source of [COUNT, '1: in al, 0x80\n inc dword ptr [0x8000]\n jmp 1b']) {
      await using vm = await realGuest(source);
      await vm.start();
      for (let round = 0; round < 500; round += 1) {
        await vm.pause();
        await vm.resume();
      }
      await vm.pause();
      const before = counter(vm);
      await vm.resume();
      await sleep(20);
      expect(counter(vm)).not.toBe(before);
    }
  });

  it('settle when they overlap', async () => {
    await using vm = await realGuest(COUNT);
    await vm.start();
    await Promise.all([vm.pause(), vm.pause()]);
    await vm.resume();
    await Promise.all([vm.pause(), vm.kill()]);
    expect(vm.state).toBe('stopped');
  });

  it('are refused before the start and after the end', async () => {
    const vm = await realGuest('hlt');
    await expect(vm.pause()).rejects.toThrow(StateError);
    await runToEnd(vm);
    await expect(vm.pause()).rejects.toThrow('stopped');
    await expect(vm.start()).rejects.toThrow(StateError);
  });
});

describe('the end', () => {
  it('comes by kill() while the guest spins', async () => {
    const vm = await realGuest(SPIN);
    await vm.start();
    await sleep(10);
    expect(await vm.kill()).toMatchObject({ reason: 'killed', code: 0 });
    expect(await vm.kill()).toMatchObject({ reason: 'killed' });
  });

  it('comes by an AbortSignal, before or after the start', async () => {
    const early = AbortSignal.abort(new Error('no'));
    await expect(realGuest(SPIN, { signal: early })).rejects.toThrow('no');
    const controller = new AbortController();
    const vm = await realGuest(SPIN, { signal: controller.signal });
    await vm.start();
    setTimeout(() => controller.abort(), 10);
    expect(await vm.exited).toMatchObject({ reason: 'killed' });
  });

  it('rejects whoever still waits for the console, with the reason', async () => {
    const vm = await realGuest('mov al, 88\n mov dx, 0x3f8\n out dx, al\n hlt');
    const waiting = vm.waitFor('never');
    waiting.catch(() => {});
    await runToEnd(vm);
    await expect(waiting).rejects.toMatchObject({
      code: 'ERR_GUEST_EXIT',
      hint: expect.stringContaining('X'),
    });
  });

  it('of wait() by a signal leaves the VM running', async () => {
    await using vm = await realGuest(SPIN);
    await vm.start();
    await expect(vm.wait({ signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    expect(vm.state).toBe('running');
  });
});

describe('many VMs in one process', () => {
  it('run side by side and keep their answers apart', async () => {
    const codes = Array.from({ length: 20 }, (_, index) => index + 1);
    const ends = await Promise.all(
      codes.map(async (code) =>
        runToEnd(
          await realGuest(
            `mov dx, 0x3f8\n mov al, ${code + 64}\n out dx, al\n mov al, ${code}\n out 0xf4, al`,
          ),
        ),
      ),
    );
    expect(ends.map(({ exit }) => exit.code)).toEqual(codes);
    expect(ends.map(({ output }) => output.charCodeAt(0) - 64)).toEqual(codes);
  });

  it('do not mind when one of them dies badly', async () => {
    await using good = await realGuest(COUNT);
    await good.start();
    const { exit } = await runToEnd(await longGuest('ud2'));
    expect(exit.reason).toBe('triple-fault');
    const before = counter(good);
    await sleep(20);
    expect(counter(good)).toBeGreaterThan(before);
  });
});
