/** Who may open an image beside whom, with QEMU's tools on the other side, whoever comes first. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, it } from 'vitest';
import { FileDisk } from '../../src/backends/file-disk.js';
import { scratch } from '../support/scratch.js';

const files = scratch();
const path = files.path('image');
execFileSync('qemu-img', ['create', '-q', '-f', 'raw', path, '1M']);
let qemu: ChildProcess | undefined;
afterEach(async () => {
  if (qemu?.exitCode !== null || qemu.signalCode !== null) return;
  const gone = once(qemu, 'close');
  qemu.kill('SIGKILL');
  await gone;
});

/** Opens the image and holds it until the test ends. @returns what it says, which is its prompt when it has it */
async function qemuOpens(how: 'reads' | 'writes'): Promise<string> {
  const args = ['-f', 'raw', ...(how === 'reads' ? ['-r'] : []), path];
  const child = spawn('qemu-io', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  qemu = child;
  let text = '';
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('qemu-io>')) resolve('opened');
      });
    }
    child.once('close', () => resolve(text));
  });
}

const open = (how: 'reads' | 'writes'): Promise<FileDisk> =>
  FileDisk.open(path, { readOnly: how === 'reads', patienceMs: 0 });

const TOGETHER = [
  ['reads', 'reads', true],
  ['reads', 'writes', false],
  ['writes', 'reads', false],
  ['writes', 'writes', false],
] as const;

for (const [first, second, works] of TOGETHER) {
  it(`one of ours ${works ? 'reads' : `does not open`} what QEMU ${first}, when it ${second}`, async () => {
    expect(await qemuOpens(first)).toBe('opened');
    const opened = await open(second).then(
      (disk) => disk.close().then(() => 'opened'),
      (error: Error) => error.message,
    );
    expect(opened).toBe(works ? 'opened' : `${path} is in use by another VM`);
  });

  it(`QEMU ${works ? 'reads' : 'does not open'} what one of ours ${first}, when it ${second}`, async () => {
    await using _disk = await open(first);
    const said = await qemuOpens(second);
    if (works) expect(said).toBe('opened');
    else expect(said).toMatch(/Failed to get .* lock/);
  });
}

it('is free as soon as QEMU is gone', async () => {
  await qemuOpens('writes');
  const gone = once(qemu!, 'close');
  qemu!.kill('SIGKILL');
  await gone;
  await (await open('writes')).close();
});
