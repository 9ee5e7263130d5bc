import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { eachLine, run, runText } from '../../../guest-kernels/command.js';
import { RecipeError } from '../../../guest-kernels/recipe-error.js';
import { childProgram } from '../../support/child-program.js';
import { processesWith, until } from '../../support/processes.js';

/** A number that no other sleep on this machine has, for finding it among all processes. */
const unique = (): string => `${3000 + Math.floor(Math.random() * 1000)}.${process.pid}${Date.now() % 1e6}`;
const sh = (script: string): readonly [string, string[]] => ['sh', ['-c', script]];

describe('run', () => {
  it('gives standard output as bytes, and as text', async () => {
    const [file, args] = sh("printf '\\377x'");
    expect([...(await run(file, args))]).toEqual([0xff, 0x78]);
    await expect(runText('echo', ['ä'])).resolves.toBe('ä\n');
  });

  it('passes words as they are, never through a shell', async () => {
    await expect(runText('printf', ['%s|', '$HOME', '*', 'a b', '', ';ls'])).resolves.toBe(
      '$HOME|*|a b||;ls|',
    );
  });

  it('feeds bytes; without any, the command reads end of file', async () => {
    await expect(runText('cat', [], { input: Buffer.from('hello') })).resolves.toBe('hello');
    await expect(runText('cat', [])).resolves.toBe('');
  });

  it('minds no command that stops reading its input early', async () => {
    await expect(runText('head', ['-c', '3'], { input: Buffer.alloc(2 ** 22, 'x') })).resolves.toBe('xxx');
  });

  it('runs in the folder and with the variables given, in the C locale', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'typevisor-command-'));
    const [file, args] = sh('pwd; echo $X $LC_ALL');
    const output = await runText(file, args, { cwd: folder, env: { X: 'y' } });
    rmSync(folder, { recursive: true });
    expect(output).toBe(`${folder}\ny C\n`);
  });

  it('tells every line of both streams, and of descriptor 3, as they come', async () => {
    const [lines, statuses] = [[] as string[], [] as string[]];
    const [file, args] = sh('echo out; echo err >&2; echo dlstatus >&3; printf last');
    await run(file, args, { onLine: (line) => lines.push(line), onStatus: (line) => statuses.push(line) });
    expect(lines.sort()).toEqual(['err', 'last', 'out']);
    expect(statuses).toEqual(['dlstatus']);
  });

  it('takes a status that is an answer', async () => {
    const [file, args] = sh('echo x; exit 7');
    await expect(runText(file, args, { accept: [7] })).resolves.toBe('x\n');
    await expect(run(file, args, { accept: [8] })).rejects.toThrow('exit status 7');
  });

  it('tells of a failure: the command, its status, the last lines it complained with, and the hint', async () => {
    const [file, args] = sh('for i in $(seq 20); do echo "wrong $i" >&2; done; exit 3');
    const error = await run(file, args, { hint: 'buy a bigger one' }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RecipeError);
    const { message, hint } = error as RecipeError;
    expect(message).toMatch(/^sh -c .*: exit status 3\n {2}wrong 9\n/s);
    expect(message).toMatch(/wrong 20$/);
    expect(message).not.toContain('wrong 8\n');
    expect(hint).toBe('buy a bigger one');
  });

  it('tells of the signal that killed a command', async () => {
    const [file, args] = sh('kill -9 $$');
    await expect(run(file, args)).rejects.toThrow('killed by SIGKILL');
  });

  it('tells of a command that is not there, with the hint', async () => {
    const failure = run('typevisor-no-such-command', [], { hint: 'apt-get install it' });
    await expect(failure).rejects.toMatchObject({
      message: expect.stringContaining('typevisor-no-such-command'),
      hint: 'apt-get install it',
    });
    await expect(run('true', [], { cwd: '/no/such/folder' })).rejects.toThrow(RecipeError);
  });

  it('does not start when the signal is aborted already', async () => {
    const time = unique();
    const signal = AbortSignal.abort(new Error('never mind'));
    expect(() => run('sleep', [time], { signal })).toThrow('never mind');
    expect(processesWith(time)).toEqual([]);
  });

  it('kills the command on abort, and rejects with the reason only when it is gone', async () => {
    const time = unique();
    const controller = new AbortController();
    const running = run('sleep', [time], { signal: controller.signal });
    await until(() => processesWith(time).length === 1, 'the command runs');
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect(processesWith(time)).toEqual([]);
  });

  it('kills a command that ignores SIGTERM, too, and does not wait for what it left behind', async () => {
    const [stubborn, leftover] = [unique(), unique()];
    const controller = new AbortController();
    const [file, args] = sh(`trap '' TERM; sleep ${leftover} & while :; do :; done # ${stubborn}`);
    const running = run(file, args, { signal: controller.signal, graceMs: 200 });
    await until(() => processesWith(leftover).length === 1, 'the command runs');
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect(processesWith(args[1]!)).toEqual([]);
    for (const pid of processesWith(leftover)) process.kill(pid, 'SIGKILL');
  }, 20_000);

  it('dies with its parent, however that dies', async () => {
    const time = unique();
    const child = childProgram(
      `import { run } from '{{guest-kernels/command.ts}}';
       console.log('ready');
       await run('sleep', ['${time}']);`,
    );
    await child.says(/ready/);
    await until(() => processesWith(time).length === 1, 'the command runs');
    child.process.kill('SIGKILL');
    await child.ended;
    await until(() => processesWith(time).length === 0, 'the command is gone');
  }, 30_000);
});

describe('eachLine', () => {
  it('splits at newlines and carriage returns, wherever chunks end, and gives the unfinished last line', async () => {
    const stream = new PassThrough();
    const lines: string[] = [];
    eachLine(stream, (line) => lines.push(line));
    for (const chunk of ['a\nb', 'c\r', 'd\r\n\ne']) stream.write(chunk);
    stream.end();
    await new Promise((resolve) => stream.once('end', resolve));
    expect(lines).toEqual(['a', 'bc', 'd', '', 'e']);
  });

  it('keeps letters whole whose bytes come in two chunks', async () => {
    const stream = new PassThrough();
    const lines: string[] = [];
    eachLine(stream, (line) => lines.push(line));
    const bytes = Buffer.from('größe\n');
    stream.write(bytes.subarray(0, 3));
    stream.end(bytes.subarray(3));
    await new Promise((resolve) => stream.once('end', resolve));
    expect(lines).toEqual(['größe']);
  });
});
