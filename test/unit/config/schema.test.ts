import { describe, expect, it } from 'vitest';
import { ConfigError, type ConfigIssue } from '../../../src/base/errors.js';
import { GiB, MiB } from '../../../src/base/units.js';
import { MAX_RAM } from '../../../src/boot/layout.js';
import { MAX_CPUS, optionHelp, parseConfig, schema, type VmConfig } from '../../../src/config/schema.js';

const kernel = '/boot/vmlinux';
const parse = (config: object) => parseConfig(config as VmConfig);

function issuesOf(config: unknown): readonly ConfigIssue[] {
  try {
    parseConfig(config as VmConfig);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).issues;
  }
  return [];
}

describe('a configuration', () => {
  it('needs a kernel, and has defaults for the rest', () => {
    expect(parse({ kernel })).toEqual({
      kernel,
      cmdline: '',
      memory: { size: 256 * MiB, pages: 'default' },
      cpus: 1,
      affinity: [],
      boot: 'auto',
      flat: undefined,
      vsock: undefined,
      agent: false,
      disks: [],
      net: [],
      console: false,
      devices: [],
      hostCheck: 'refuse',
      timeouts: {},
      name: 'vm',
    });
    expect(issuesOf({})).toEqual([{ path: 'kernel', message: 'is required' }]);
  });

  it.each([
    [{ vsock: true }, { cid: 3 }],
    [{ vsock: 77 }, { cid: 77 }],
    [{ vsock: { cid: 4, path: '/run/x' } }, { cid: 4, path: '/run/x' }],
    [{ vsock: false }, undefined],
    [{ agent: true }, { cid: 3 }],
    [{ agent: true, vsock: { cid: 9 } }, { cid: 9 }],
  ])('has a socket device by %j', (options, vsock) => {
    expect(parse({ kernel, ...options }).vsock).toEqual(vsock);
  });

  it.each([
    [{ vsock: 2 }, 'vsock.cid'],
    [{ vsock: 2 ** 32 - 1 }, 'vsock.cid'],
    [{ vsock: { cid: 3.5 } }, 'vsock.cid'],
    [{ vsock: { path: '' } }, 'vsock.path'],
    [{ vsock: { path: `/${'x'.repeat(96)}` } }, 'vsock.path'],
    [{ vsock: { path: 'a\0b' } }, 'vsock.path'],
    [{ cpu: { mask: 'avx2' } }, 'cpu.mask'],
    [{ cpu: { set: { avx2: 'off' } } }, 'cpu.set.avx2'],
    [{ cpu: { template: [] } }, 'cpu.template'],
    [{ cpu: { hide: [] } }, 'cpu.hide'],
    [{ cpus: 2, affinity: [0, 1, 0] }, 'affinity.2'],
    [{ affinity: [[]] }, 'affinity.0'],
    [{ affinity: ['0'] }, 'affinity.0'],
    [{ affinity: [-1] }, 'affinity.0.0'],
    [{ affinity: [8192] }, 'affinity.0.0'],
    [{ agent: true, flat: {} }, 'agent'],
  ])('has no socket device or agent by %j', (options, path) => {
    expect(issuesOf({ kernel, ...options }).map((issue) => issue.path)).toEqual([path]);
  });

  it('is frozen when it is resolved, and leaves what it was made from alone', () => {
    const input = { kernel, memory: '64M' };
    const config = parse(input);
    expect(Object.isFrozen(config)).toBe(true);
    expect(input).toEqual({ kernel, memory: '64M' });
  });

  it.each([kernel, new URL('file:///boot/vmlinux'), new Uint8Array(8)])(
    'takes a kernel from %s',
    (source) => {
      expect(parse({ kernel: source }).kernel).toBe(source);
    },
  );

  it.each([
    ['64M', 64 * MiB],
    [64 * MiB, 64 * MiB],
    ['1.5G', 1.5 * GiB],
    [{ size: '64M' }, 64 * MiB],
    [MiB, MiB],
    [MAX_RAM, MAX_RAM],
  ])('takes memory as %j', (memory, size) => {
    expect(parse({ kernel, memory }).memory).toEqual({ size, pages: 'default' });
  });

  it('starts a flat binary where it lies, unless told otherwise', () => {
    expect(parse({ kernel, flat: {} }).flat).toEqual({
      load: 0x1000,
      entry: 0x1000,
      mode: 'real',
      irqchip: false,
    });
    expect(parse({ kernel, flat: { load: 0x7c00 } }).flat).toMatchObject({ load: 0x7c00, entry: 0x7c00 });
    expect(parse({ kernel, flat: { load: 0x7c00, entry: 0x7c10 } }).flat).toMatchObject({ entry: 0x7c10 });
  });

  it('may have a signal', () => {
    const { signal } = new AbortController();
    expect(parse({ kernel, signal }).signal).toBe(signal);
  });
});

describe('a wrong option is named by its path', () => {
  const cases: [string, object, string, string][] = [
    ['a kernel that is a number', { kernel: 5 }, 'kernel', 'expected a path, a file: URL or bytes'],
    ['an empty path', { kernel: '' }, 'kernel', 'is empty'],
    [
      'a URL of the web',
      { kernel: new URL('http://example.org/') },
      'kernel',
      'expected a path, a file: URL or bytes',
    ],
    ['too few CPUs', { cpus: 0 }, 'cpus', 'must be at least 1'],
    ['too many CPUs', { cpus: MAX_CPUS + 1 }, 'cpus', 'must be at most 32'],
    ['half a CPU', { cpus: 1.5 }, 'cpus', 'must be a whole number, not 1.5'],
    ['CPUs in words', { cpus: 'two' }, 'cpus', 'must be a number, not "two"'],
    ['no number of CPUs', { cpus: Number.NaN }, 'cpus', 'must be a number, not NaN'],
    [
      'memory that is no size',
      { memory: '256X' },
      'memory.size',
      '"256X" is not a size; write bytes or 256M',
    ],
    ['too little memory', { memory: 4096 }, 'memory.size', '4 KiB is too little: 1 MiB is the least'],
    [
      'too much memory',
      { memory: MAX_RAM + 4096 },
      'memory.size',
      '511 GiB is too much: 511 GiB is the most',
    ],
    [
      'memory that is no page',
      { memory: MiB + 1 },
      'memory.size',
      '1048577 bytes is not a whole number of 4096-byte pages',
    ],
    [
      'memory that is negative',
      { memory: -4096 },
      'memory.size',
      '-4096 B is too little: 1 MiB is the least',
    ],
    ['memory that is nothing', { memory: null }, 'memory.size', 'expected bytes or a size such as 256M'],
    [
      'a kind of pages',
      { memory: { size: '2M', pages: '1G' } },
      'memory.pages',
      'must be one of default, transparent, 2M, not "1G"',
    ],
    [
      '3 MiB of 2 MiB pages',
      { memory: { size: '3M', pages: '2M' } },
      'memory.size',
      '3 MiB is not a whole number of 2 MiB pages',
    ],
    ['a part of memory', { memory: { size: '2M', page: '2M' } }, 'memory.page', 'unknown option'],
    ['a boot protocol', { boot: 'bios' }, 'boot', 'must be one of auto, linux64, pvh, not "bios"'],
    ['a long command line', { cmdline: 'x'.repeat(2048) }, 'cmdline', 'is longer than 2047 bytes'],
    [
      'a command line of long characters',
      { cmdline: 'ä'.repeat(1024) },
      'cmdline',
      'is longer than 2047 bytes',
    ],
    ['a NUL in the command line', { cmdline: 'a\0b' }, 'cmdline', 'contains a NUL character'],
    ['a mode', { flat: { mode: 'protected' } }, 'flat.mode', 'must be one of real, long, not "protected"'],
    ['an address', { flat: { load: -1 } }, 'flat.load', 'must be at least 0'],
    ['a limit', { timeouts: { run: 0 } }, 'timeouts.run', 'must be at least 1 ms'],
    ['a limit of a month', { timeouts: { run: 2 ** 31 } }, 'timeouts.run', 'must be at most 24 days'],
    ['an empty name', { name: '' }, 'name', 'is empty'],
    ['a key nearly right', { comdline: '' }, 'comdline', 'unknown option; did you mean cmdline?'],
    ['a key nobody knows', { firmware: '' }, 'firmware', 'unknown option'],
  ];
  it.each(cases)('%s', (_what, wrong, path, message) => {
    expect(issuesOf({ kernel, ...wrong })).toEqual([{ path, message }]);
  });

  it.each([undefined, null, 'vmlinux', 5])('%s is no configuration', (config) => {
    const issues = issuesOf(config);
    expect(issues).toHaveLength(1);
    expect(issues[0]!.path).toBe('');
  });

  it('together with all the others', () => {
    const config = { cpus: 99, memory: '1K', boot: 'x', flat: { mode: 'x', lod: 1 }, foo: 1, bar: 2 };
    const issues = issuesOf(config);
    expect(issues.map(({ path }) => path).sort()).toEqual(
      ['bar', 'boot', 'cpus', 'flat.lod', 'flat.mode', 'foo', 'kernel', 'memory.size'].sort(),
    );
    expect(() => parse(config)).toThrow(/cpus: must be at most 32; .*boot: must be one of/);
  });
});

describe('the list of options', () => {
  it('says of each what it is, but of those only a program can give', () => {
    const without = Object.entries(schema.shape).filter(([, type]) => optionHelp.get(type) === undefined);
    expect(without.map(([key]) => key)).toEqual(['signal']);
    for (const type of Object.values(schema.shape)) {
      const help = optionHelp.get(type);
      if (help) expect(help.text.length).toBeGreaterThan(10);
    }
  });

  it('has defaults that its help tells', () => {
    const config = parse({ kernel });
    const text = (key: keyof typeof schema.shape): string => optionHelp.get(schema.shape[key])?.text ?? '';
    expect(text('memory')).toContain(`default ${config.memory.size / MiB}M`);
    expect(text('cpus')).toContain(`default ${config.cpus}`);
    expect(text('boot')).toContain(`default ${config.boot}`);
    expect(text('name')).toContain(`default ${config.name}`);
    expect(text('hostCheck')).toContain(`default ${config.hostCheck}`);
  });
});
