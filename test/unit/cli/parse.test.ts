import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readConfigFile } from '../../../src/cli/config-file.js';
import { parseCommandLine } from '../../../src/cli/parse.js';
import { UsageError } from '../../../src/cli/usage-error.js';

const configOf = (...args: string[]) => parseCommandLine(args).config;

describe('flags', () => {
  it('become the library’s configuration', () => {
    expect(
      configOf('--kernel', 'vmlinux', '--initrd=initrd', '--cmdline', 'quiet ro', '--cpus', '2'),
    ).toEqual({
      kernel: 'vmlinux',
      initrd: 'initrd',
      cmdline: 'quiet ro',
      cpus: 2,
    });
    expect(configOf('--boot=pvh', '--host-check=ignore', '--name', 'a', '--no-agent')).toEqual({
      boot: 'pvh',
      hostCheck: 'ignore',
      name: 'a',
      agent: false,
    });
  });

  it('have parts, after commas', () => {
    expect(configOf('--memory', '1G').memory).toEqual({ size: '1G' });
    expect(configOf('--memory', '1G,pages=2M').memory).toEqual({ size: '1G', pages: '2M' });
    expect(configOf('--flat', 'boot.bin,load=0x7c00,entry=31760,mode=long,irqchip')).toEqual({
      kernel: 'boot.bin',
      flat: { load: 0x7c00, entry: 31_760, mode: 'long', irqchip: true },
    });
  });

  it('say what CPU a guest gets, as QEMU has them', () => {
    expect(configOf('--cpu', 'avx2=off,svm=on,smep').cpu).toEqual({
      set: { avx2: false, svm: true, smep: true },
    });
    expect(configOf('--cpu', 'template=t2.json').cpu).toEqual({ template: 't2.json' });
    expect(configOf('--cpu', 'avx2=no').cpu).toEqual({ set: { avx2: 'no' } });
  });

  it('bind vCPUs to host CPUs', () => {
    expect(configOf('--affinity', '1,0-3,0+2-3').affinity).toEqual([[1], [0, 1, 2, 3], [0, 2, 3]]);
    expect(configOf('--affinity', 'all').affinity).toEqual([['all']]);
    expect(configOf('--affinity', '3-1').affinity).toEqual([[]]);
  });

  it('give a guest its sockets', () => {
    expect(configOf('--vsock', '3').vsock).toEqual({ cid: 3 });
    expect(configOf('--vsock', '0x10,path=/run/vm.sock').vsock).toEqual({ cid: 16, path: '/run/vm.sock' });
    expect(configOf('--vsock', 'three').vsock).toEqual({ cid: 'three' });
  });

  it('end at --: what follows is the command for the guest', () => {
    const line = parseCommandLine(['--kernel', 'a', '--', 'ls', '--version', '--', '-h']);
    expect(line.command).toEqual(['ls', '--version', '--', '-h']);
    expect(line).toMatchObject({ help: false, config: { kernel: 'a' } });
    expect(parseCommandLine(['--kernel', 'a']).command).toBeUndefined();
    expect(() => parseCommandLine(['--kernel', 'a', '--'])).toThrow('-- needs a command');
  });

  it('give times in seconds', () => {
    expect(configOf('--timeout', '1.5').timeouts).toEqual({ run: 1500 });
  });

  it('leave what is no number to the schema to complain about', () => {
    expect(configOf('--cpus', 'two').cpus).toBe('two');
    expect(configOf('--timeout', 'soon').timeouts).toEqual({ run: 'soon' });
    expect(configOf('--flat', 'x,load=here').flat).toEqual({ load: 'here' });
    expect(configOf('--flat', 'x,load=').flat).toEqual({ load: '' });
  });

  it('win over earlier ones of the same name', () => {
    expect(configOf('--cpus', '2', '--cpus', '3').cpus).toBe(3);
  });

  it('may hold dashes and equals signs in their values', () => {
    expect(configOf('--cmdline=root=/dev/vda --single').cmdline).toBe('root=/dev/vda --single');
    expect(configOf('--cmdline', 'init=/bin/sh').cmdline).toBe('init=/bin/sh');
  });

  it('switch things on', () => {
    expect(parseCommandLine([])).toMatchObject({ help: false, json: false, verbose: false, config: {} });
    expect(parseCommandLine(['--help', '--json', '--verbose'])).toMatchObject({
      help: true,
      json: true,
      verbose: true,
    });
    expect(parseCommandLine(['-hv'])).toMatchObject({ help: true, verbose: true, json: false });
  });

  it('takes a card as KIND:PLACE with settings behind it, several times', () => {
    const { config } = parseCommandLine([
      '--net',
      'stream:/tmp/a:b,listen,mtu=9000,mac=02:00:00:00:00:01',
      '--net',
      'stream:c',
    ]);
    expect(config).toEqual({
      net: [
        { stream: { path: '/tmp/a:b', listen: true }, mtu: 9000, mac: '02:00:00:00:00:01' },
        { stream: { path: 'c' } },
      ],
    });
    const taps = parseCommandLine([
      '--net',
      'tap:tap0,queues=4,mtu=1400',
      '--net',
      'tap,fd=5',
      '--net',
      'tap',
    ]);
    expect(taps.config).toEqual({
      net: [{ tap: { name: 'tap0', queues: 4 }, mtu: 1400 }, { tap: { fd: 5 } }, { tap: {} }],
    });
  });

  it('gives forwards and rules to the user network, wherever that is named', () => {
    const more = ['-p', '8080:80', '--forward', '[::1]:2222:22', '--allow', 'example.com:443', '--deny', '*'];
    const user = { forwards: ['8080:80', '[::1]:2222:22'], allow: ['example.com:443'], deny: ['*'] };
    expect(parseCommandLine(more).config).toEqual({ net: [{ user }] });
    expect(parseCommandLine([...more, '--net', 'stream:a', '--net', 'user,mtu=1400']).config).toEqual({
      net: [{ stream: { path: 'a' } }, { user, mtu: 1400 }],
    });
    expect(parseCommandLine(['--net', 'user']).config).toEqual({ net: [{ user: true }] });
  });

  it('cannot touch an object’s prototype', () => {
    const { config } = parseCommandLine(['--memory', '1G,__proto__=x,constructor=y']);
    expect(Object.getPrototypeOf(config.memory)).toBe(Object.prototype);
    expect(Object.keys(config.memory as object)).toContain('__proto__');
  });
});

describe('a wrong command line', () => {
  const cases: [string, string[], string, string | undefined][] = [
    ['an unknown option', ['--firmware'], 'unknown option --firmware', 'try --help'],
    ['a mistyped option', ['--kernal', 'x'], 'unknown option --kernal', 'did you mean --kernel? try --help'],
    ['an unknown letter', ['-x'], 'unknown option -x', 'try --help'],
    [
      'a value without its option',
      ['vmlinux'],
      'unexpected argument "vmlinux": options start with --',
      'try --help',
    ],
    ['a missing value', ['--kernel'], '--kernel needs a value: --kernel PATH', 'try --help'],
    ['an empty value', ['--kernel='], '--kernel needs a value: --kernel PATH', 'try --help'],
    [
      'an option where a value should be',
      ['--kernel', '--json'],
      '--kernel needs a value: --kernel PATH',
      'try --help',
    ],
    ['a value for a switch', ['--json=yes'], '--json takes no value', 'try --help'],
    [
      'two kinds of guest',
      ['--kernel', 'a', '--flat', 'b'],
      '--kernel and --flat: one of them',
      'try --help',
    ],
    [
      'two kinds of guest, in the other order',
      ['--flat', 'b', '--kernel', 'a'],
      '--kernel and --flat: one of them',
      'try --help',
    ],
  ];
  it.each(cases)('%s', (_what, args, message, hint) => {
    expect(() => parseCommandLine(args)).toThrow(UsageError);
    expect(() => parseCommandLine(args)).toThrow(
      expect.objectContaining({ message, hint, code: 'ERR_VMM_CONFIG' }),
    );
  });
});

describe('a configuration file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-config-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (content: unknown, name = 'vm.json'): string => {
    const path = join(folder, name);
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  };

  it('adds forwards and rules to those of a configuration file', () => {
    const path = file({ net: { user: { allow: ['a.example'], hostname: 'guest' }, id: 'eth' } });
    const { config } = parseCommandLine(['--config', path, '--allow', 'b.example', '-p', '1:2']);
    expect(config).toEqual({
      net: [{ user: { allow: ['a.example', 'b.example'], hostname: 'guest', forwards: ['1:2'] }, id: 'eth' }],
    });
  });

  it('is read, and its paths are relative to it', () => {
    const path = file({
      kernel: 'boot/vmlinux',
      initrd: '../initrd',
      cmdline: 'quiet',
      name: 'boot/vmlinux',
    });
    expect(readConfigFile(path)).toEqual({
      kernel: join(folder, 'boot/vmlinux'),
      initrd: join(folder, '../initrd'),
      cmdline: 'quiet',
      name: 'boot/vmlinux',
    });
  });

  it('may name cards in each of their forms, their sockets relative to it', () => {
    const cards = [{ stream: 'a' }, { stream: { path: 'b', listen: true }, mtu: 1400 }, { backend: 1 }, null];
    expect(readConfigFile(file({ net: cards, pcap: 'p' }))).toEqual({
      net: [
        { stream: join(folder, 'a') },
        { stream: { path: join(folder, 'b'), listen: true }, mtu: 1400 },
        { backend: 1 },
        null,
      ],
      pcap: join(folder, 'p'),
    });
    expect(readConfigFile(file({ net: { stream: 'a' } }))).toEqual({ net: { stream: join(folder, 'a') } });
    expect(readConfigFile(file({ net: false }))).toEqual({ net: false });
  });

  it('may name a Unix socket, relative to it', () => {
    const vsock = { cid: 5, path: 'vm.sock' };
    expect(readConfigFile(file({ vsock }))).toEqual({ vsock: { cid: 5, path: join(folder, 'vm.sock') } });
    expect(readConfigFile(file({ vsock: 5 }))).toEqual({ vsock: 5 });
  });

  it('may name disks in each of their forms, relative to it', () => {
    const disks = [
      'a.img',
      '/b.img',
      { source: 'c.img', overlay: 'memory' },
      { source: 'd.img', overlay: 'top', id: 'd' },
    ];
    expect(readConfigFile(file({ disks }))).toEqual({
      disks: [
        join(folder, 'a.img'),
        '/b.img',
        { source: join(folder, 'c.img'), overlay: 'memory' },
        { source: join(folder, 'd.img'), overlay: join(folder, 'top'), id: 'd' },
      ],
    });
  });

  it('keeps absolute paths, and what is no path at all', () => {
    const config = { kernel: '/boot/vmlinux', initrd: '', disks: [7, null, { id: 'x' }] };
    expect(readConfigFile(file(config))).toEqual(config);
    expect(readConfigFile(file({ disks: 'x', kernel: 5 }))).toEqual({ disks: 'x', kernel: 5 });
  });

  it('loses against flags', () => {
    const path = file({ kernel: '/a', cpus: 2, memory: '64M' });
    const line = parseCommandLine(['--cpus', '4', '--config', path, '--memory', '1G']);
    expect(line).toMatchObject({ file: path, config: { kernel: '/a', cpus: 4, memory: { size: '1G' } } });
  });

  it('may give the kernel that --flat replaces', () => {
    const path = file({ kernel: '/a' });
    expect(parseCommandLine(['--config', path, '--flat', 'b']).config).toMatchObject({
      kernel: 'b',
      flat: {},
    });
  });

  it.each([
    ['[]', /holds no object/],
    ['null', /holds no object/],
    ['5', /holds no object/],
    ['{"cpus": 2,}', /is not JSON: /],
    ['', /is not JSON: /],
  ])('that holds %j is refused', (content, message) => {
    expect(() => readConfigFile(file(content))).toThrow(UsageError);
    expect(() => readConfigFile(file(content))).toThrow(message);
  });

  it('that cannot be read is named', () => {
    const missing = join(folder, 'missing.json');
    mkdirSync(join(folder, 'folder'));
    expect(() => readConfigFile(missing)).toThrow(
      expect.objectContaining({ code: 'ERR_FILE', message: `--config: no such file: ${missing}` }),
    );
    expect(() => readConfigFile(join(folder, 'folder'))).toThrow(/is a directory/);
    expect(() => parseCommandLine(['--config', '--json'])).toThrow('--config needs a value: --config FILE');
  });
});
