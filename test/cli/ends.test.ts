/** How the command ends and what it says of that and of itself. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { long } from '../support/assemble.js';
import { VMM, vmm } from '../support/command.js';
import { Folder } from '../support/folder.js';
import { SPIN } from '../support/programs.js';

const folder = new Folder();
afterAll(() => folder[Symbol.dispose]());

describe('the end of the command', () => {
  it("is the guest's exit code", async () => {
    const seven = folder.guest('seven', 'mov al, 7\n out 0xf4, al');
    expect(await vmm(['--flat', seven])).toMatchObject({ code: 7, stdout: '', stderr: '' });
  });

  it('is 72 for a triple fault', async () => {
    const flat = `${folder.file('fault', long('ud2'))},load=0x100000,mode=long`; // without an IDT
    expect(await vmm(['--flat', flat, '--memory', '2M'])).toMatchObject({
      code: 72,
      stdout: '',
      stderr: expect.stringMatching(/^vmm: the guest triple-faulted at RIP 0x0000000000100000\n$/),
    });
  });

  it('is 124 at the time limit', async () => {
    const limited = await vmm(['--flat', folder.guest('spin', SPIN), '--timeout', '0.5']);
    expect(limited).toMatchObject({ code: 124, stdout: '!', stderr: 'vmm: the guest ran for 0.5 s\n' });
  });

  it('by a KVM internal error tells registers, instruction bytes and the end of the console', async () => {
    const lost = folder.guest('lost', 'mov dx, 0x3f8\n mov al, 72\n out dx, al\n ljmp 0xffff, 0x10');
    const result = await vmm(['--flat', lost, '--memory', '1M']);
    expect(result.code).toBe(72);
    expect(result.stderr).toMatch(/^vmm: KVM /);
    expect(result.stderr).toMatch(/^ {2}RIP +0x0000000000000010$/m);
    expect(result.stderr).toMatch(/^ {2}CS +0xffff base 0xf_fff0 16-bit, CPL 0$/m);
    expect(result.stderr).toMatch(/^ {2}\| H$/m);
  });
});

describe('what the command says of itself', () => {
  it('its version', async () => {
    const file = join(import.meta.dirname, '../../package.json');
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
    expect(await vmm(['--version'])).toMatchObject({ code: 0, stdout: `typevisor ${version}\n`, stderr: '' });
  });

  it('its help, with every option', async () => {
    const help = await vmm(['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    for (const flag of [
      'kernel',
      'initrd',
      'cmdline',
      'memory',
      'cpus',
      'flat',
      'timeout',
      'config',
      'json',
    ]) {
      expect(help.stdout).toContain(`--${flag}`);
    }
  });

  it('what doctor finds', async () => {
    const doctor = await vmm(['doctor', '--json']);
    expect(doctor.code).toBe(0);
    expect(JSON.parse(doctor.stdout)).toMatchObject({ ok: true, boots: { lean: true } });
  });
});

describe('a process that embeds', () => {
  const embed = (script: string) => {
    const started = performance.now();
    const library = `import { VirtualMachine } from '${join(VMM, '../dist/index.js')}';`;
    const options = { timeout: 20_000, encoding: 'latin1' as const };
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '-e', `${library}\n${script}`],
      options,
    );
    return { status, stdout, stderr, ms: performance.now() - started };
  };
  const START = `
    const spin = { kernel: new Uint8Array([0xeb, 0xfe]), flat: {}, memory: '1M' };
    for (let i = 0; i < 3; i++) await VirtualMachine.start(spin);`;

  it('ends at once with process.exit() while guests spin', () => {
    const { status, ms } = embed(`${START} setTimeout(() => process.exit(5), 50);`);
    expect(status).toBe(5);
    expect(ms).toBeLessThan(5000);
  });

  it('ends with its own uncaught error while guests spin', () => {
    const { status, stderr, ms } = embed(`${START} throw new Error('mine');`);
    expect(status).toBe(1);
    expect(stderr).toContain('Error: mine');
    expect(ms).toBeLessThan(5000);
  });

  it('goes on when one of two VMs dies badly', () => {
    // In real mode, a far jump to nowhere: KVM gives up on it.
    const { status, stdout } = embed(`
      const lost = { kernel: new Uint8Array([0xea, 0x10, 0x00, 0xff, 0xff]), flat: {}, memory: '1M' };
      const echo = { kernel: new Uint8Array([0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, 0xeb, 0xfb]), flat: {}, memory: '1M' };
      const good = await VirtualMachine.start(echo);
      await good.waitFor('A');
      const { reason } = await (await VirtualMachine.start(lost)).exited;
      await good.waitFor('AAAA', { timeout: 5000 });
      console.log(reason, good.state);
      await good.kill();`);
    expect(stdout).toBe('kvm-error running\n');
    expect(status).toBe(0);
  });
});
