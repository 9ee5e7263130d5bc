/**
 * The two halves of the agent's protocol against each other: its numbers by a C compiler, then the agent itself, as a process of this host
 * behind a Unix socket, with the client that `vm.exec` uses.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Duplex, PassThrough, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent } from '../../src/agent/agent.js';
import { encodeFrame, FrameDecoder, u16, u32 } from '../../src/agent/frames.js';
import * as protocol from '../../src/agent/protocol.js';
import { VmmError } from '../../src/base/errors.js';
import { evaluateC } from '../support/compile.js';
import { BUILT, gone, HostAgent, isAlive, SOURCES } from '../support/host-agent.js';

describe('the numbers of the protocol', () => {
  const { REQUEST, ANSWER, DATA, MAX_PAYLOAD, PORT, SPAWN_PTY, VERSION, WINDOW } = protocol;
  const claims = { ...REQUEST, ...ANSWER, DATA, MAX_PAYLOAD, PORT, SPAWN_PTY, VERSION, WINDOW };
  const actual = evaluateC([], Object.keys(claims), `#include "${join(SOURCES, 'protocol.h')}"`);

  it.each(Object.entries(claims))('%s is %i', (name, value) => {
    expect(Number(actual.get(name))).toBe(value);
  });
});

const BUILDS: readonly (readonly [string, string | readonly string[]])[] = [
  ['watched by sanitizers', []],
  ['as guests get it', BUILT],
];

it('as guests get it, is a static program of less than 150 KB', () => {
  const program = readFileSync(BUILT);
  expect(program.length).toBeLessThan(150_000);
  // ELF-64: no segment asks for an interpreter (PT_INTERP) or a dynamic linker (PT_DYNAMIC).
  const [table, size, count] = [32, 54, 56].map((at) => program.readUInt16LE(at)) as [number, number, number];
  const types = Array.from({ length: count }, (_, index) => program.readUInt32LE(table + index * size));
  expect(types).toContain(1);
  expect(types.filter((type) => type === 2 || type === 3)).toEqual([]);
});

describe.each(BUILDS)('the agent %s:', (_, build) => {
  let host: HostAgent;
  let agent: Agent;
  let folder: string;
  let child: ChildProcess;
  const dial = (): Promise<Socket> => host.dial();

  beforeAll(async () => {
    host = new HostAgent(build);
    ({ agent, folder, process: child } = host);
    await agent.ready();
  });
  afterAll(() => host[Symbol.dispose]());

  describe('a program', () => {
    it('runs: its output, its errors and its code come back', async () => {
      const result = await agent.exec('echo out; echo err >&2; exit 3', {});
      expect(result).toMatchObject({
        exitCode: 3,
        signal: null,
        ok: false,
        stdout: 'out\n',
        stderr: 'err\n',
      });
      expect(await agent.exec(['echo', 'a b', '$c'], {})).toMatchObject({ ok: true, stdout: 'a b $c\n' });
    });

    it('reads what it is given, byte for byte, and writes far more than any window', async () => {
      const bytes = randomBytes(3_000_000);
      const { stdoutBytes } = await agent.exec(['cat'], { stdin: bytes });
      expect(stdoutBytes.equals(bytes)).toBe(true);
      const both = await agent.exec('head -c 5000000 /dev/zero & head -c 4000000 /dev/zero >&2; wait', {});
      expect([both.stdoutBytes.length, both.stderrBytes.length]).toEqual([5_000_000, 4_000_000]);
      expect(await agent.exec(['true'], { stdin: bytes })).toMatchObject({ ok: true });
    });

    it('has an environment, a folder and a user', async () => {
      const { stdout } = await agent.exec('echo "$PATH $HOME $X"; pwd', {
        env: { X: 'y z', HOME: '/h' },
        cwd: '/usr',
      });
      expect(stdout).toBe('/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /h y z\n/usr\n');
      if (process.getuid?.() === 0) {
        expect((await agent.exec('id -u; id -g', { user: '1234:99' })).stdout).toBe('1234\n99\n');
        expect((await agent.exec('id -un; echo $HOME', { user: 'nobody' })).stdout).toBe(
          'nobody\n/nonexistent\n',
        );
      }
      await expect(agent.exec(['true'], { user: 'no-such-user' })).rejects.toMatchObject({
        errnoName: 'ENOENT',
      });
    });

    it.skipIf(process.getuid?.() !== 0)('has the groups of its user, as login gives them', async () => {
      for (const line of readFileSync('/etc/passwd', 'utf8').trim().split('\n')) {
        const [user = '', , uid = '', , , home] = line.split(':');
        const wanted = execFileSync('id', ['-G', user], { encoding: 'utf8' });
        for (const name of [user, uid])
          expect([name, (await agent.exec('id -G; echo $HOME', { user: name })).stdout]).toEqual([
            name,
            `${wanted}${home}\n`,
          ]);
      }
      expect((await agent.exec('id -u; id -g; id -G', { user: '0:7' })).stdout).toMatch(/^0\n7\n7( |\n)/);
      for (const user of ['1x', '1:', '1:x', ':1', 'no:1'])
        await expect(agent.exec(['true'], { user })).rejects.toMatchObject({ code: 'ERR_GUEST_CALL' });
    });

    it('runs by the file itself, by a script of somebody, by a script of nobody', async () => {
      for (const [name, content] of [
        ['with', '#!/bin/sh\necho "$0 $*"\n'],
        ['without', 'echo "$0 $*"\n'],
      ] as const) {
        const path = join(folder, name);
        writeFileSync(path, content, { mode: 0o755 });
        const wanted = `${path} a b\n`;
        expect((await agent.exec([path, 'a', 'b'], {})).stdout).toBe(wanted);
        expect((await agent.exec([name, 'a', 'b'], { env: { PATH: `/none:${folder}:/bin` } })).stdout).toBe(
          wanted,
        );
      }
      writeFileSync(join(folder, 'closed'), '', { mode: 0o644 });
      await expect(agent.exec(['closed'], { env: { PATH: `${folder}:/none` } })).rejects.toMatchObject({
        errnoName: 'EACCES',
      });
    });

    it.each([
      [['/no/such/program'], {}, 'ENOENT'],
      [['no-such-program'], {}, 'ENOENT'],
      [['/etc/passwd'], {}, 'EACCES'],
      [['true'], { cwd: '/no/such/folder' }, 'ENOENT'],
    ] as const)('that cannot be started is an error: %j %j', async (argv, options, errnoName) => {
      await expect(agent.exec(argv, options)).rejects.toMatchObject({ code: 'ERR_GUEST_CALL', errnoName });
    });

    it('is refused with a NUL in it, without a name, and when it is too long', async () => {
      await expect(agent.exec(['echo', 'a\0b'], {})).rejects.toMatchObject({
        code: 'ERR_VMM_CONFIG',
        message: /NUL/,
      });
      await expect(agent.exec([], {})).rejects.toMatchObject({ code: 'ERR_VMM_CONFIG' });
      await expect(agent.exec(['echo', 'x'.repeat(40_000)], {})).rejects.toMatchObject({
        code: 'ERR_VMM_CONFIG',
      });
    });

    it('fails, if that is asked for, with what it wrote', async () => {
      await expect(agent.exec('echo no >&2; exit 9', { check: true })).rejects.toMatchObject({
        ...{ code: 'ERR_EXEC', hint: 'no', message: /ended with code 9/ },
        result: { exitCode: 9, stderr: 'no\n' },
      });
      expect(await agent.exec('kill -SEGV $$', {})).toMatchObject({
        exitCode: null,
        signal: 'SIGSEGV',
        ok: false,
      });
    });

    it('is killed with its children when its time is up, when it is aborted, and when it writes too much', async () => {
      const forever = 'sleep 1000 & echo $! $$; sleep 1000';
      const pidsOf = (text: string): number[] => text.trim().split(' ').map(Number);
      const late = await agent.exec(forever, { timeout: 300 }).catch((error: unknown) => error);
      expect(late).toMatchObject({ code: 'ERR_TIMEOUT', result: { exitCode: null, signal: 'SIGKILL' } });
      for (const pid of pidsOf((late as { result: { stdout: string } }).result.stdout))
        expect(await gone(pid)).toBe(true);
      const abort = new AbortController();
      const aborted = agent.exec('sleep 1000', { signal: abort.signal });
      await sleep(100);
      abort.abort(new Error('enough'));
      await expect(aborted).rejects.toThrow('enough');
      await expect(agent.exec('true', { signal: AbortSignal.abort(new Error('never')) })).rejects.toThrow(
        'never',
      );
      const loud = await agent.exec('yes', { maxBuffer: 100_000 }).catch((error: unknown) => error);
      expect(loud).toMatchObject({ code: 'ERR_EXEC', result: { stdoutBytes: { length: 100_000 } } });
    });

    it('is killed when its connection is lost', async () => {
      let socket: Socket | undefined;
      const own = new Agent(async () => {
        socket = await dial();
        return socket;
      });
      const started = await own.spawn(['sleep', '1000'], {});
      const pid = await started.pid;
      expect(isAlive(pid)).toBe(true);
      socket!.destroy();
      await expect(started.exited).rejects.toMatchObject({ code: 'ERR_AGENT' });
      expect(await gone(pid)).toBe(true);
    });

    it('waits for its reader, and signals reach it all the same', async () => {
      const started = await agent.spawn('trap "echo got >&2; exit 4" TERM; yes & wait', {});
      await started.pid;
      await sleep(300);
      const errors: Buffer[] = [];
      started.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
      // `yes` is in its group and dies; nobody has read what it wrote.
      started.kill('SIGTERM');
      expect(await started.exited).toEqual({ exitCode: 4, signal: null });
      expect(Buffer.concat(errors).toString()).toBe('got\n');
      expect(started.stdout.readableLength).toBeLessThanOrEqual(256 * 1024);
    });

    it('may have a terminal, with a size, and with Ctrl-C', async () => {
      const started = await agent.spawn('stty -echo; stty size; read x; stty size; tty > /dev/null && cat', {
        pty: { rows: 43, columns: 132 },
      });
      let text = '';
      started.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text === '43 132\r\n') {
          started.resize({ rows: 10, columns: 20 });
          started.stdin.write('\n');
        }
        if (text.endsWith('10 20\r\n')) started.stdin.write('\x03');
      });
      expect(await started.exited).toMatchObject({ signal: 'SIGINT' });
      expect(text).toMatch(/^43 132\r\n10 20\r\n/);
    });

    it('is one of a hundred at once, and no zombie is left', async () => {
      const results = await Promise.all(
        Array.from({ length: 100 }, (_, index) => agent.exec(`echo ${index}; exit ${index}`, {})),
      );
      expect(results.map(({ exitCode, stdout }) => [exitCode, Number(stdout)])).toEqual(
        results.map((_, index) => [index, index]),
      );
      const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'latin1');
      expect(children.trim()).toBe('');
    });

    it('can be left to itself: disposing kills it', async () => {
      const started = await agent.spawn(['sleep', '1000'], {});
      await started[Symbol.asyncDispose]();
      expect(await started.exited).toEqual({ exitCode: null, signal: 'SIGKILL' });
    });
  });

  describe('files', () => {
    const at = (name: string): string => join(folder, name);

    it('are written and read, of any size and name', async () => {
      for (const [name, size] of [
        ['empty', 0],
        ['odd\n name ü', 10],
        ['large', 1_000_003],
      ] as const) {
        const bytes = randomBytes(size);
        await agent.files.writeFile(at(name), bytes, { mode: 0o640 });
        expect(readFileSync(at(name)).equals(bytes)).toBe(true);
        expect((await agent.files.readFile(at(name))).equals(bytes)).toBe(true);
        expect(await agent.files.stat(at(name))).toMatchObject({ type: 'file', size, mode: 0o640, nlink: 1 });
      }
      await agent.files.writeFile(at('text'), 'grüße');
      expect(await agent.files.readFile(at('text'), 'utf8')).toBe('grüße');
      await agent.files.writeFile(
        at('parts'),
        (async function* () {
          yield 'one ';
          yield Buffer.from('two');
        })(),
      );
      expect(readFileSync(at('parts'), 'utf8')).toBe('one two');
    });

    it('stand in folders, which are made, listed, renamed and removed', async () => {
      await agent.files.mkdir(at('a/b/c'), { recursive: true });
      await agent.files.mkdir(at('a/b/c'), { recursive: true });
      for (let index = 0; index < 1000; index += 1) writeFileSync(at(`a/b/${'n'.repeat(100)}${index}`), '');
      expect((await agent.files.readdir(at('a/b'))).sort()).toEqual(readdirSync(at('a/b')).sort());
      await agent.files.rename(at('a/b'), at('a/z'));
      expect((await agent.files.stat(at('a/z'))).type).toBe('directory');
      await expect(agent.files.rm(at('a'))).rejects.toMatchObject({ errnoName: 'ENOTEMPTY' });
      await agent.files.rm(at('a'), { recursive: true });
      await agent.files.rm(at('a'), { force: true });
      await expect(agent.files.rm(at('a'))).rejects.toMatchObject({
        errnoName: 'ENOENT',
        message: /^remove .*ENOENT$/,
      });
    });

    it('are given up when that is what a signal says, at any moment', async () => {
      const { files } = agent;
      const endless = async function* () {
        for (;;) yield Buffer.alloc(50_000);
      };
      const never = async function* () {
        yield 'first';
        await new Promise(() => {});
      };
      for (const delay of [-1, 0, 1, 20]) {
        const abort = new AbortController();
        const { signal } = abort;
        const give = (): void => abort.abort(new Error(`after ${delay}`));
        if (delay < 0) give();
        else setTimeout(give, delay);
        const calls = [
          files.readFile('/dev/zero', { signal }),
          files.writeFile('/dev/null', endless(), { signal }),
          files.writeFile(at('waits'), never(), { signal }),
          files.createReadStream('/dev/zero', { signal }).forEach(() => {}),
        ];
        for (const outcome of await Promise.allSettled(calls))
          expect(outcome).toMatchObject({ status: 'rejected', reason: { message: `after ${delay}` } });
      }
    });

    it('that are not there, or are folders, or cannot be written, are errors', async () => {
      const { files } = agent;
      await expect(files.readFile(at('none'))).rejects.toMatchObject({
        code: 'ERR_GUEST_CALL',
        errnoName: 'ENOENT',
      });
      await expect(files.readFile(folder)).rejects.toMatchObject({ errnoName: 'EISDIR' });
      await expect(files.readFile('/dev/zero', { maxBytes: 1_000_000 })).rejects.toMatchObject({
        code: 'ERR_AGENT',
        message: '/dev/zero has more than 1000000 bytes',
      });
      await expect(files.writeFile(folder, 'x')).rejects.toMatchObject({ errnoName: 'EISDIR' });
      await expect(files.writeFile('/dev/full', randomBytes(200_000))).rejects.toMatchObject({
        errnoName: 'ENOSPC',
      });
      await expect(files.readdir(at('none'))).rejects.toMatchObject({ errnoName: 'ENOENT' });
      await expect(files.mkdir(folder)).rejects.toMatchObject({ errnoName: 'EEXIST' });
      mkdirSync(at('d'));
    });
  });

  describe('the agent', () => {
    /** What comes back for these bytes until it hangs up, or is silent. */
    async function answersTo(bytes: Uint8Array): Promise<{ types: number[]; open: boolean }> {
      const socket = await dial();
      const decoder = new FrameDecoder();
      const types: number[] = [];
      let open = true;
      socket.on('data', (chunk: Buffer) => types.push(...decoder.push(chunk).map(({ type }) => type)));
      socket.on('end', () => {
        open = false;
      });
      socket.on('error', () => {});
      socket.write(bytes);
      await sleep(100);
      socket.destroy();
      return { types, open };
    }
    const { ANSWER, REQUEST, VERSION } = protocol;
    const hello = encodeFrame(REQUEST.HELLO, u16(VERSION), u16(VERSION));

    it('refuses what it does not know, and goes on', async () => {
      const bytes = Buffer.concat([
        hello,
        encodeFrame(99),
        encodeFrame(200, u32(1)),
        encodeFrame(REQUEST.STAT, Buffer.from('\x01/\0')),
      ]);
      expect(await answersTo(bytes)).toEqual({
        types: [ANSWER.WELCOME, ANSWER.ERROR, ANSWER.ERROR, ANSWER.STATUS],
        open: true,
      });
    });

    it('does not wait for the other end of a pipe, which may never come', async () => {
      await agent.exec(['mkfifo', join(folder, 'pipe')], { check: true });
      await expect(agent.files.writeFile(join(folder, 'pipe'), 'x')).rejects.toMatchObject({
        errnoName: 'ENXIO',
      });
      expect((await agent.files.readFile(join(folder, 'pipe'))).length).toBe(0);
      await agent.files.rm(join(folder, 'pipe'));
    });

    it('refuses versions that it does not have, and hangs up on those who speak none', async () => {
      expect(await answersTo(encodeFrame(REQUEST.HELLO, u16(VERSION + 1), u16(VERSION + 5)))).toMatchObject({
        types: [ANSWER.ERROR],
      });
      expect(await answersTo(encodeFrame(REQUEST.SPAWN))).toEqual({ types: [], open: false });
      expect(await answersTo(Buffer.from('GET / HTTP/1.0\r\n\r\n'))).toEqual({ types: [], open: false });
    });
  });
});

describe('an agent', () => {
  it('is missed when it is not there, or speaks another language', async () => {
    const nobody = new Agent(() => Promise.reject(new VmmError('ERR_VSOCK_REFUSED', 'no')));
    await expect(nobody.ready({ timeout: 100 })).rejects.toMatchObject({
      code: 'ERR_AGENT',
      message: /within 0.1 s/,
    });
    await expect(nobody.exec('true', { timeout: 100 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    const echo = spawn('cat', { stdio: 'pipe' });
    const strange = new Agent(async () => Duplex.from({ readable: echo.stdout, writable: echo.stdin }));
    await expect(strange.ready()).rejects.toMatchObject({
      code: 'ERR_AGENT',
      message: /garbage: no welcome/,
    });
    echo.kill();
    // One that takes connections and never says a word.
    const silent = new Agent(
      async () => new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() }),
      50,
    );
    const said = { code: 'ERR_AGENT', message: /took a connection and said nothing for 1 s/ };
    await Promise.all(
      [
        silent.ready(),
        silent.exec('true', {}),
        silent.files.readFile('/x'),
        silent.files.writeFile('/x', 'y'),
      ].map((call) => expect(call).rejects.toMatchObject(said)),
    );
    const old = new Agent(async () =>
      Duplex.from({
        readable: Readable.from([encodeFrame(protocol.ANSWER.ERROR, u32(93))]),
        writable: new PassThrough().resume(),
      }),
    );
    await expect(old.exec('true', {})).rejects.toMatchObject({
      code: 'ERR_AGENT',
      hint: 'use the agent that came with this version',
    });
  });

  it('is asked to power off if it was met before or is to be there, and is not waited for longer than that', async () => {
    const { REQUEST, ANSWER, VERSION } = protocol;
    const asked: number[] = [];
    let answers = true;
    const speaking = async (): Promise<Duplex> => {
      const decoder = new FrameDecoder();
      const line: Duplex = new Duplex({
        read() {},
        write(chunk: Buffer, _encoding, done) {
          for (const { type } of decoder.push(chunk)) {
            asked.push(type);
            if (type === REQUEST.HELLO) line.push(encodeFrame(ANSWER.WELCOME, u16(VERSION)));
            else if (answers) line.push(encodeFrame(ANSWER.DONE));
          }
          done();
        },
      });
      return line;
    };
    const off = Promise.resolve();
    await new Agent(speaking).askToPowerOff(off, 1000, false);
    expect(asked).toEqual([]);
    await new Agent(speaking).askToPowerOff(off, 1000, true);
    expect(asked.splice(0)).toEqual([REQUEST.HELLO, REQUEST.POWEROFF]);
    answers = false;
    const met = new Agent(speaking);
    met.met();
    await met.askToPowerOff(new Promise(() => {}), 50, false);
    expect(asked).toEqual([REQUEST.HELLO, REQUEST.POWEROFF]);
    const absent = new Agent(() => Promise.reject(new VmmError('ERR_VSOCK_REFUSED', 'no')));
    await absent.askToPowerOff(new Promise(() => {}), 50, true);
  });
});
