/** Both ends of a control socket, with a machine that is none. */
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { Duplex, PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { encodeFrame, FrameDecoder, u16, u32 } from '../../../src/agent/frames.js';
import { ANSWER, REQUEST, VERSION } from '../../../src/agent/protocol.js';
import { removeStale } from '../../../src/control/socket.js';
import {
  type ControlledMachine,
  type ControlServer,
  connectMachine,
  listMachines,
  type MachineEnd,
  serveControl,
  VmmError,
} from '../../../src/index.js';
import { type Scratch, scratch } from '../../support/scratch.js';

let place: Scratch;
const servers: ControlServer[] = [];
beforeEach(() => {
  place = scratch();
  vi.stubEnv('XDG_RUNTIME_DIR', place.folder);
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
  vi.unstubAllEnvs();
  place[Symbol.dispose]();
});

const sockets = (): string[] =>
  readdirSync(place.path('typevisor'))
    .filter((name) => name !== '.lock')
    .sort();
const socketOf = (name: string): string => join(place.path('typevisor'), `${name}.sock`);

class FakeMachine implements ControlledMachine {
  state = 'running';
  readonly asked: unknown[] = [];
  #end!: (end: MachineEnd) => void;
  readonly exited = new Promise<MachineEnd>((resolve) => {
    this.#end = resolve;
  });
  constructor(readonly vsock: ControlledMachine['vsock'] = undefined) {}
  async stop(options: { readonly timeout: number }): Promise<MachineEnd> {
    return this.end({ reason: 'poweroff', code: 0, message: 'off' }, options);
  }
  async kill(): Promise<MachineEnd> {
    return this.end({ reason: 'killed', code: 0, message: 'killed' }, 'kill');
  }
  end(end: MachineEnd, how: unknown): MachineEnd {
    this.asked.push(how);
    this.#end(end);
    return end;
  }
}

async function serve(name: string, machine = new FakeMachine(), agent = false): Promise<FakeMachine> {
  servers.push(await serveControl(machine, { name, agent, runs: 'vmlinux' }));
  return machine;
}

/** A socket whose process was killed: it is there, and nobody listens. */
async function leaveStale(name: string): Promise<void> {
  const { execFileSync } = await import('node:child_process');
  const script = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  expect(() => execFileSync(process.execPath, ['-e', script, socketOf(name)])).toThrow('SIGKILL');
}

/** What a raw client gets for what it says. */
async function say(name: string, text: string): Promise<string> {
  const socket = connect(socketOf(name));
  socket.write(text);
  return Buffer.concat(await socket.toArray()).toString();
}

describe('a VM with a name', () => {
  it('is found, by its name and in the list', async () => {
    await serve('web');
    await serve('db', new FakeMachine({ connect: () => new Promise(() => {}) }), true);
    const { info } = await connectMachine('web');
    expect(info).toMatchObject({
      name: 'web',
      pid: process.pid,
      state: 'running',
      agent: 'none',
      runs: 'vmlinux',
    });
    expect(Math.abs(info.began - Date.now())).toBeLessThan(60_000);
    expect((await listMachines()).map(({ name, ...rest }) => [name, 'agent' in rest && rest.agent])).toEqual([
      ['db', 'given'],
      ['web', 'none'],
    ]);
    expect(sockets()).toEqual(['db.sock', 'web.sock']); // and nothing hidden
  });

  it('keeps it from others', async () => {
    await serve('web');
    await expect(serve('web')).rejects.toMatchObject({
      code: 'ERR_VMM_CONFIG',
      message: 'name: "web" is taken by a VM that runs',
      hint: 'another name, or: vmm stop web',
    });
    expect(sockets()).toEqual(['web.sock']);
    expect((await connectMachine('web')).info.name).toBe('web');
  });

  it('is one of many that want it at once', async () => {
    await serve('other');
    await leaveStale('web');
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => serve('web')));
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1);
    expect(sockets()).toEqual(['other.sock', 'web.sock']);
    expect((await connectMachine('web')).info.name).toBe('web');
  });

  it('gives it back when it ends', async () => {
    const machine = await serve('web');
    machine.end({ reason: 'poweroff', code: 0, message: '' }, '');
    await vi.waitFor(() => expect(sockets()).toEqual([]));
    await expect(connectMachine('web')).rejects.toMatchObject({ code: 'ERR_NO_VM' });
    await serve('web');
  });

  it('leaves a name alone that somebody else has by now', async () => {
    const server = await serveControl(new FakeMachine(), { name: 'web', agent: false, runs: '' });
    const { rmSync } = await import('node:fs');
    rmSync(socketOf('web'));
    await serve('web');
    await server[Symbol.asyncDispose]();
    expect(sockets()).toEqual(['web.sock']);
  });

  it('needs one that will do', async () => {
    await expect(serve('../web')).rejects.toThrow('name: "../web" will not do');
    await expect(connectMachine('../web')).rejects.toThrow('name: "../web" will not do');
  });
});

describe('what killed monitors leave', () => {
  it('is removed by the list, and takes no name', async () => {
    await serve('web');
    await leaveStale('old');
    await expect(connectMachine('old')).rejects.toThrow('no VM named "old" runs');
    expect((await listMachines()).map(({ name }) => name)).toEqual(['web']);
    expect(sockets()).toEqual(['web.sock']);
  });

  it('is not what has been replaced meanwhile', async () => {
    await serve('web');
    await removeStale(socketOf('web')); // as one who saw its predecessor
    expect(sockets()).toEqual(['web.sock']);
    expect((await connectMachine('web')).info.name).toBe('web');
  });

  it('is nothing of what does not look like ours', async () => {
    await serve('web');
    for (const name of ['notes', '.bashrc', '-x.sock', 'a b.sock'])
      writeFileSync(place.path(`typevisor/${name}`), '');
    await listMachines();
    expect(sockets()).toEqual(['-x.sock', '.bashrc', 'a b.sock', 'notes', 'web.sock']);
  });
});

describe('a stop', () => {
  it('asks the guest, and tells how it ended when the name is free', async () => {
    const machine = await serve('web');
    const end = await (await connectMachine('web')).stop({ timeout: 1234, force: false });
    expect(end).toEqual({ reason: 'poweroff', code: 0, message: 'off' });
    expect(machine.asked).toEqual([{ timeout: 1234 }]);
    expect(sockets()).toEqual([]);
  });

  it('kills it when forced', async () => {
    const machine = await serve('web');
    const end = await (await connectMachine('web')).stop({ timeout: 1234, force: true });
    expect(end.reason).toBe('killed');
    expect(machine.asked).toEqual(['kill']);
  });
});

describe('a connection to the agent', () => {
  /** An agent that answers each byte, and ends after its client. */
  const echo = (): Duplex => new PassThrough();
  const request = '{"version":1,"verb":"agent","timeout":1000}\n';

  it('carries bytes both ways, to both ends', async () => {
    await serve('web', new FakeMachine({ connect: async () => echo() }));
    const socket = connect({ path: socketOf('web'), allowHalfOpen: true });
    socket.write(request);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toBe('{"ok":true}\n');
    const bytes = Buffer.alloc(3 * 2 ** 20, 'typevisor');
    socket.end(bytes);
    expect(Buffer.concat(await socket.toArray()).equals(bytes)).toBe(true);
  });

  it('waits for a reader', async () => {
    let written = 0;
    const endless = new Duplex({
      read() {
        written += 65_536;
        this.push(Buffer.alloc(65_536));
      },
      write: (_chunk, _encoding, done) => done(),
    });
    await serve('web', new FakeMachine({ connect: async () => endless }));
    const socket = connect(socketOf('web'));
    socket.write(request);
    await vi.waitFor(() => expect(written).toBeGreaterThan(0));
    let before: number;
    do {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    } while (written !== before);
    expect(written).toBeLessThan(8 * 2 ** 20);
    socket.destroy();
    await vi.waitFor(() => expect(endless.destroyed).toBe(true));
  });

  it('ends with its client while the guest does not answer', async () => {
    let aborted = false;
    const machine = new FakeMachine({
      connect: (_port, { signal }) =>
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => {
            aborted = true;
            reject(signal.reason);
          }),
        ),
    });
    await serve('web', machine);
    const socket = connect(socketOf('web'));
    socket.write(request);
    await once(socket, 'connect');
    socket.destroy();
    await vi.waitFor(() => expect(aborted).toBe(true));
  });

  it('is refused as the guest refuses it', async () => {
    const connectAgent = async () => {
      throw new VmmError('ERR_VSOCK_RESET', 'reset by the guest');
    };
    await serve('web', new FakeMachine({ connect: connectAgent }));
    await expect((await connectMachine('web')).exec(['true'])).rejects.toMatchObject({
      code: 'ERR_VSOCK_RESET',
      message: 'reset by the guest',
    });
  });

  it('is refused by a VM without one', async () => {
    await serve('web');
    await expect((await connectMachine('web')).exec(['true'])).rejects.toMatchObject({
      code: 'ERR_VMM_CONFIG',
      message: '"web" has no agent: it has no vsock',
      hint: 'start it with --agent, or with --vsock and an agent of yours',
    });
  });
});

/** An agent that runs one program: it says what it reads, and ends with 7. */
function fakeAgent(): Duplex {
  const far: PassThrough = new PassThrough();
  const said = new PassThrough();
  const near = Duplex.from({ readable: said, writable: far });
  const decoder = new FrameDecoder();
  far.on('data', (chunk: Buffer) => {
    for (const { type, payload } of decoder.push(chunk)) {
      if (type === REQUEST.HELLO) said.write(encodeFrame(ANSWER.WELCOME, u16(VERSION)));
      else if (type === REQUEST.SPAWN) said.write(encodeFrame(ANSWER.STARTED, u32(33)));
      else if (type === REQUEST.STDIN) said.write(encodeFrame(ANSWER.STDOUT, payload));
      else if (type === REQUEST.STDIN_END) {
        said.write(encodeFrame(ANSWER.EXIT, Buffer.of(0, 7)));
        said.write(encodeFrame(ANSWER.DONE));
      }
    }
  });
  return near;
}

describe('a program in a VM of another process', () => {
  it('has its input, its output and its end here', async () => {
    await serve('web', new FakeMachine({ connect: async () => fakeAgent() }), true);
    const machine = await connectMachine('web');
    const result = await machine.exec(['cat'], { stdin: 'hello' });
    expect(result).toMatchObject({ exitCode: 7, stdout: 'hello' });
  });
});

describe('a client that speaks garbage', () => {
  it('is told so, and the VM lives', async () => {
    await serve('web');
    expect(await say('web', 'GET / HTTP/1.1\r\n\r\n')).toBe(
      '{"ok":false,"code":"ERR_CONTROL","message":"control socket: not JSON"}\n',
    );
    expect(await say('web', '{"version":9,"verb":"info"}\n')).toMatch(/control protocol 9 is not known/);
    expect(await say('web', 'x'.repeat(100_000))).toMatch(/a line of more than/);
    expect((await connectMachine('web')).info.name).toBe('web');
  });
});

describe('a monitor that speaks garbage', () => {
  it('is told from one that is gone', async () => {
    await serve('web');
    const server = createServer((socket) => socket.end('hello\n')).listen(socketOf('odd'));
    await once(server, 'listening');
    await expect(connectMachine('odd')).rejects.toMatchObject({ code: 'ERR_CONTROL' });
    expect(await listMachines()).toMatchObject([{ name: 'odd' }, { name: 'web', pid: process.pid }]);
    server.close();
  });
});
