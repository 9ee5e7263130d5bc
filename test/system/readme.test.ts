/** The program in README.md, run as it stands there: saved in the checkout, started with Node, against a Linux guest. */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guest } from '../support/guest.js';
import { codeBlocks } from '../support/markdown.js';

const ROOT = join(import.meta.dirname, '../..');
/** Inside the package, where Node finds `typevisor` by the package's own name; dist is a package scope of its own. */
const PROGRAM = join(ROOT, 'native/build', `readme-example-${process.pid}.mjs`);

/** Stands before the program; what else the README has is cut out of such. */
const MARK = '<!-- runs: test/system/readme.test.ts -->\n';

beforeAll(() => {
  const [, marked, ...others] = readFileSync(join(ROOT, 'README.md'), 'utf8').split(MARK);
  expect(others).toEqual([]);
  const program = codeBlocks(marked ?? '')[0];
  expect(program?.language).toBe('js');
  writeFileSync(PROGRAM, program!.code);
});
afterAll(() => rmSync(PROGRAM, { force: true }));

function runProgram(
  ...args: readonly string[]
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
}

it("the README's program boots a guest, types into its shell and prints how it ended", async () => {
  const { status, stdout, stderr } = await runProgram('--kernel', guest.kernel, '--initrd', guest.initrd);
  expect(stderr).not.toMatch(/ERR_/);
  const lines = stdout.trimEnd().split('\n');
  expect(lines[0]).toBe('the guest says: Linux on 1 CPU');
  expect(lines[1]).toMatch(/^ended: (reboot|poweroff), code 0; exits by kind: \{/);
  expect(status).toBe(0);
});

it("the README's program tells by its code and hint why a kernel is none", async () => {
  const { status, stdout, stderr } = await runProgram('--kernel', PROGRAM, '--initrd', guest.initrd);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^ERR_KERNEL_FORMAT: the kernel is neither .* give an x86-64 vmlinux/);
  expect(status).toBe(1);
});
