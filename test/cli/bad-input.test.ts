/** Everything a user can get wrong: one line on standard error, its exit code, and no guest. */
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { vmm } from '../support/command.js';
import { Folder } from '../support/folder.js';
import { bzImage, type ElfOptions, elfImage, SMALL_ELF } from '../support/images.js';

const folder = new Folder();
afterAll(() => folder[Symbol.dispose]());

const kernel = folder.file('vmlinux', elfImage(SMALL_ELF));
const absent = join(folder.path, 'absent');
const disk = folder.file('disk', new Uint8Array(4096));
const MiB = 2 ** 20;
const PAGE_AT_1M = { address: 0x10_0000, fileSize: 0x1000 };
const random = Uint8Array.from({ length: 5000 }, (_, index) => (index * 7919 + 13) % 251);

interface Case {
  readonly what: string;
  readonly args: readonly string[];
  readonly code: number;
  readonly says: string | RegExp;
}

const image = (name: string, bytes: Uint8Array): string[] => ['--kernel', folder.file(name, bytes)];
const elf = (options: ElfOptions): string[] =>
  image(`elf-${JSON.stringify(options).replace(/\W+/g, '-')}`, elfImage({ ...SMALL_ELF, ...options }));
const withKernel = (...args: string[]): string[] => ['--kernel', kernel, ...args];

const CASES: readonly Case[] = [
  { what: 'nothing', args: [], code: 64, says: '--kernel PATH is required' },
  { what: 'an unknown flag', args: ['--kernal', 'x'], code: 64, says: 'did you mean --kernel?' },
  { what: 'a flag without its value', args: ['--kernel'], code: 64, says: '--kernel needs a value' },
  { what: 'a word too many', args: withKernel('x'), code: 64, says: 'unexpected argument "x"' },
  { what: 'a value for a switch', args: withKernel('--json=1'), code: 64, says: '--json' },
  { what: '--kernel and --flat', args: withKernel('--flat', 'x'), code: 64, says: 'one of them' },
  { what: 'memory 0', args: withKernel('--memory', '0'), code: 64, says: '--memory: 0 B is too little' },
  { what: 'memory 1', args: withKernel('--memory', '1'), code: 64, says: 'too little' },
  { what: 'odd memory', args: withKernel('--memory', '134217729'), code: 64, says: 'whole number of 4096' },
  { what: 'memory of no size', args: withKernel('--memory', 'lots'), code: 64, says: '"lots" is not a size' },
  { what: 'memory above the limit', args: withKernel('--memory', '1000G'), code: 64, says: '511 GiB' },
  {
    what: "memory above the host's",
    args: withKernel('--memory', '500G'),
    code: 64,
    says: 'than this host has',
  },
  { what: 'cpus 0', args: withKernel('--cpus', '0'), code: 64, says: '--cpus: must be at least 1' },
  { what: 'cpus 33', args: withKernel('--cpus', '33'), code: 64, says: '--cpus: must be at most 32' },
  { what: 'cpus 1.5', args: withKernel('--cpus', '1.5'), code: 64, says: 'whole number' },
  { what: 'cpus of no number', args: withKernel('--cpus', 'two'), code: 64, says: '"two"' },
  {
    what: 'a long command line',
    args: withKernel('--cmdline', 'x'.repeat(2048)),
    code: 64,
    says: '2047 bytes',
  },
  ...[
    { what: 'a network nobody knows', net: 'wifi:x', says: '--net 0.wifi: unknown option' },
    { what: 'a tap of no name', net: 'tap', says: '--net 0.tap: must have a name' },
    {
      what: 'a tap of a long name',
      net: 'tap:abcdefghijklmnop',
      says: '--net 0.tap.name: must be 1 to 15 of',
    },
    { what: 'a tap of a bad name', net: 'tap:a/b', says: '--net 0.tap.name: must be 1 to 15 of' },
    { what: 'a tap of 17 queues', net: 'tap:a,queues=17', says: '--net 0.tap.queues: must be at most 16' },
    { what: 'a tap by two means', net: 'tap:a,fd=3', says: '--net 0.tap: must have a name, or descriptors' },
    {
      what: 'a descriptor of nothing',
      net: 'tap,fd=999',
      code: 66,
      says: 'is no descriptor of a tap interface',
    },
    { what: 'queues of a socket', net: 'stream:x,queues=2', says: '--net 0.stream.queues: unknown option' },
    { what: 'queues of the user network', net: 'user,queues=2', says: '--net 0.user.queues: unknown option' },
    { what: 'a network without its socket', net: 'stream', says: '--net 0.stream.path' },
    {
      what: 'a network that is not there',
      net: `stream:${absent}`,
      code: 66,
      says: 'no such socket',
    },
    {
      what: 'a group for a card',
      net: 'stream:x,mac=01:00:5e:00:00:01',
      says: '--net 0.mac: must be the address of a card',
    },
    {
      what: 'half an address',
      net: 'stream:x,mac=02:00',
      says: '--net 0.mac: must be the address of a card',
    },
    { what: 'an MTU of 67', net: 'stream:x,mtu=67', says: '--net 0.mtu: must be at least 68' },
    { what: 'an MTU of 65536', net: 'stream:x,mtu=65536', says: '--net 0.mtu: must be at most 65535' },
    { what: 'an MTU of no number', net: 'stream:x,mtu=large', says: '--net 0.mtu' },
    { what: 'an unknown setting of a card', net: 'stream:x,speed=10', says: '--net 0.speed: unknown option' },
  ].map(({ net, code = 64, ...rest }) => ({ ...rest, code, args: withKernel('--net', net) })),
  {
    what: 'two cards of one name',
    args: withKernel('--net', 'stream:x,id=a', '--net', 'stream:y,id=a'),
    code: 64,
    says: '--net 1.id: "a" is taken',
  },
  {
    what: 'a capture file in no folder',
    args: withKernel('--net', `stream:${absent},listen`, '--pcap', `${absent}/such`),
    code: 66,
    says: 'no such folder',
  },
  {
    what: 'a capture of no card',
    args: withKernel('--pcap', 'x'),
    code: 64,
    says: '--pcap: there is no network card',
  },
  ...[
    { what: 'a disk that is missing', disks: [absent], code: 66, says: `${absent}: no such file` },
    { what: 'a disk that is a folder', disks: [folder.path], code: 66, says: 'is a directory' },
    { what: 'a disk of no sector', disks: [folder.file('bit', 'x')], code: 66, says: 'not one sector' },
    {
      what: 'an unknown setting of a disk',
      disks: [`${disk},size=1`],
      says: '--disk 0.size: unknown option',
    },
    {
      what: 'two disks of one name',
      disks: [`${disk},id=a`, `${disk},id=a`],
      says: '--disk 1.id: "a" is taken',
    },
    {
      what: 'one file for two disks',
      disks: [disk, disk],
      code: 66,
      says: `${disk} is in use by another VM`,
    },
    {
      what: 'a qcow2 image that is none',
      disks: [`${disk},format=qcow2`],
      code: 66,
      says: 'not a qcow2 image',
    },
  ].map(({ disks, code = 64, ...rest }) => ({
    ...rest,
    code,
    args: withKernel(...disks.flatMap((source) => ['--disk', source])),
  })),
  {
    what: 'one disk more than there is room for',
    args: [
      '--flat',
      kernel,
      ...Array(18)
        .fill(['--disk', `${disk},ro`])
        .flat(),
    ],
    code: 64,
    says: '18 virtio devices: this machine has room for 17',
  },
  {
    what: "an embedder's device that is missing",
    args: withKernel('--device', absent),
    code: 66,
    says: `--device: no such file: ${absent}`,
  },
  { what: 'timeout 0', args: withKernel('--timeout', '0'), code: 64, says: '--timeout: must be at least' },
  {
    what: 'an unknown boot protocol',
    args: withKernel('--boot', 'bios'),
    code: 64,
    says: 'auto, linux64, pvh',
  },
  {
    what: 'the CID of the host',
    args: withKernel('--vsock', '2'),
    code: 64,
    says: '--vsock cid: must be at least 3',
  },
  { what: 'a CID for any', args: withKernel('--vsock', '0xffffffff'), code: 64, says: 'at most 4294967294' },
  { what: 'a CID that is no number', args: withKernel('--vsock', 'x'), code: 64, says: '"x"' },
  {
    what: 'an unknown part of --vsock',
    args: withKernel('--vsock', '3,dir=x'),
    code: 64,
    says: '--vsock dir',
  },
  {
    what: 'a socket path that is too long',
    args: withKernel('--vsock', `3,path=/${'x'.repeat(96)}`),
    code: 64,
    says: '--vsock path: is longer than 96 bytes',
  },
  {
    what: 'a socket path that exists',
    args: withKernel('--vsock', `3,path=${kernel}`),
    code: 66,
    says: 'vsock: exists already, and is no socket',
  },
  {
    what: 'a socket path in no folder',
    args: withKernel('--vsock', '3,path=/no/such/vm.sock'),
    code: 66,
    says: 'vsock: no such folder',
  },
  { what: 'an unknown part of --flat', args: ['--flat', `${kernel},lod=1`], code: 64, says: '--flat lod' },
  {
    what: 'a missing kernel',
    args: ['--kernel', '/no/such/file'],
    code: 66,
    says: 'no such file: /no/such/file',
  },
  { what: 'a directory', args: ['--kernel', folder.path], code: 66, says: 'is a directory' },
  { what: 'an empty kernel', args: image('empty', new Uint8Array()), code: 65, says: 'empty' },
  { what: 'random bytes', args: image('random', random), code: 65, says: 'neither' },
  {
    what: 'a truncated ELF',
    args: image('truncated', elfImage(SMALL_ELF).subarray(0, 0x1100)),
    code: 65,
    says: 'truncated',
  },
  {
    what: 'a 32-bit ELF',
    args: image('elf32', elfImage({ ...SMALL_ELF, bits: 32 })),
    code: 65,
    says: '32-bit',
  },
  {
    what: 'an ARM64 ELF',
    args: image('arm64', elfImage({ ...SMALL_ELF, machine: 183 })),
    code: 65,
    says: /ARM ?64|AArch64/i,
  },
  {
    what: "an ARM64 distribution's kernel",
    args: image(
      'Image',
      Uint8Array.from({ length: 4096 }, (_, index) => [0x41, 0x52, 0x4d, 0x64][index - 0x38] ?? 0),
    ),
    code: 65,
    says: 'the kernel is for ARM64, not x86-64',
  },
  {
    what: 'an ELF with a segment outside of RAM',
    args: [...elf({ segments: [PAGE_AT_1M, { address: 0xc000_0000, fileSize: 0x1000 }] }), '--memory', '4G'],
    code: 65,
    says: /segment 1 at 0xc000_0000.*0xc000_1000 does not fit into/,
  },
  {
    what: 'an ELF that needs more RAM than there is',
    args: [...elf({ segments: [{ ...PAGE_AT_1M, memorySize: 65 * MiB }] }), '--memory', '64M'],
    code: 65,
    says: 'does not fit',
  },
  {
    what: 'an ELF with overlapping segments',
    args: elf({ segments: [PAGE_AT_1M, { address: 0x10_0800, fileSize: 0x1000 }] }),
    code: 65,
    says: 'segments overlap at 0x10_0800',
  },
  {
    what: 'an ELF whose entry is not loaded',
    args: elf({ entry: 0x20_0000 }),
    code: 65,
    says: 'entry 0x20_0000 is outside',
  },
  {
    what: 'a truncated bzImage',
    args: image('half', bzImage().subarray(0, 0x3000)),
    code: 65,
    says: 'truncated bzImage: 12288 bytes of 17408',
  },
  {
    what: 'a bzImage cut in its header',
    args: image('header', bzImage().subarray(0, 0x270)),
    code: 65,
    says: 'truncated bzImage: its header is missing',
  },
  {
    what: 'a bzImage of a 32-bit kernel',
    args: image('bz32', bzImage({ xloadflags: 0 })),
    code: 65,
    says: 'without a 64-bit entry point',
  },
  {
    what: 'a missing initrd',
    args: withKernel('--initrd', '/no/initrd'),
    code: 66,
    says: 'initrd: no such file',
  },
  {
    what: 'an initrd larger than RAM',
    args: withKernel('--memory', '20M', '--initrd', folder.file('initrd', new Uint8Array(21 * MiB))),
    code: 65,
    says: 'initrd',
  },
  {
    what: 'a missing configuration',
    args: ['--config', '/no/config'],
    code: 66,
    says: '--config: no such file',
  },
  { what: 'no JSON', args: ['--config', folder.file('a.json', '{')], code: 64, says: 'is not JSON' },
  { what: 'no object', args: ['--config', folder.file('b.json', '[1]')], code: 64, says: 'holds no object' },
  {
    what: 'an unknown key',
    args: ['--config', folder.file('c.json', JSON.stringify({ kernel, memroy: 1 }))],
    code: 64,
    says: 'memroy: unknown option; did you mean memory?',
  },
  {
    what: 'a wrong type deep inside',
    args: ['--config', folder.file('d.json', JSON.stringify({ kernel, memory: { size: '128M', pages: 7 } }))],
    code: 64,
    says: 'memory.pages: must be one of',
  },
  {
    what: 'NUL in the command line',
    args: ['--config', folder.file('e.json', JSON.stringify({ kernel, cmdline: 'a\0b' }))],
    code: 64,
    says: 'cmdline: contains a NUL',
  },
];

describe('the command refuses', () => {
  it.each(CASES)('$what', async ({ args, code, says }) => {
    const result = await vmm(args, { input: '' });
    expect(result.stderr).toMatch(says);
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(result).toMatchObject({ code, stdout: '' });
  });
});
