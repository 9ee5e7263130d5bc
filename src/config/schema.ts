/**
 * Every option of a virtual machine, once: types, defaults, help texts and error paths all come from here. Pure: what
 * needs the host (does the file exist, is there that much memory) is checked where it is used, in vm/.
 */
import * as z from 'zod/mini';
import { ConfigError } from '../base/errors.js';
import { formatSize, MiB, PAGE_SIZE, parseSize } from '../base/units.js';
import type { BlockBackend } from '../devices/blk/backend.js';
import { LEAST_CID, MOST_CID } from '../devices/vsock/protocol.js';
import type { VirtioDevice } from '../virtio/device.js';
import { affinity, cpu } from './cpu.js';
import { describeIssue } from './issues.js';
import { networkCards } from './network-cards.js';
import { identifier, objectWith, rateLimit } from './parts.js';

/** Most vCPUs: what the MP table and the tests cover. */
export const MAX_CPUS = 32;
const MAX_CMDLINE = 2047;
const MIN_MEMORY = MiB;
/** 39 bits of guest-physical space, less the MMIO gap. */
const MAX_MEMORY = 2 ** 39 - 2 ** 30;

/** What `--help` and the documentation say of an option. */
export interface OptionHelp {
  readonly text: string;
  /** The value's name in a usage line: `SIZE`. */
  readonly value: string;
  /** The command's flag when it is not the option's own name in kebab case. */
  readonly flag?: string | undefined;
}
/** The help of each option, by its type in `schema`. */
export const optionHelp = z.registry<OptionHelp>();

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const url = z.custom<URL>((value) => value instanceof URL && value.protocol === 'file:');
const file = z.union([z.string().check(z.minLength(1)), url, bytes], 'expected a path, a file: URL or bytes');

const size = z.pipe(
  z.union([z.number(), z.string()], 'expected bytes or a size such as 256M'),
  z.transform((value: number | string, context) => {
    const number = typeof value === 'number' ? value : parseSize(value);
    if (number !== undefined && Number.isSafeInteger(number)) return number;
    context.issues.push({
      code: 'custom',
      message: `"${value}" is not a size; write bytes or 256M`,
      input: value,
    });
    return z.NEVER;
  }),
);

const memorySize = size.check((context) => {
  const { value } = context;
  const refuse = (message: string): void => {
    context.issues.push({ code: 'custom', message, input: value });
  };
  if (value < MIN_MEMORY)
    refuse(`${formatSize(value)} is too little: ${formatSize(MIN_MEMORY)} is the least`);
  else if (value > MAX_MEMORY)
    refuse(`${formatSize(value)} is too much: ${formatSize(MAX_MEMORY)} is the most`);
  else if (value % PAGE_SIZE !== 0) refuse(`${value} bytes is not a whole number of ${PAGE_SIZE}-byte pages`);
});

const pages = z.enum(['default', 'transparent', '2M']);
type MemoryInput =
  | number
  | string
  | { size: number | string; pages?: 'default' | 'transparent' | '2M' | undefined };
/** A bare size is short for `{ size }`. */
const memory = z.pipe(
  z.transform((value: MemoryInput) =>
    typeof value === 'object' && value !== null ? value : { size: value },
  ),
  z.strictObject({ size: memorySize, pages: z._default(pages, 'default') }).check((context) => {
    const { size, pages } = context.value;
    if (pages !== '2M' || size % (2 * MiB) === 0) return;
    const message = `${formatSize(size)} is not a whole number of 2 MiB pages`;
    context.issues.push({ code: 'custom', message, input: size, path: ['size'] });
  }),
);

const address = z.number().check(z.int(), z.minimum(0));
const milliseconds = z
  .number()
  .check(z.minimum(1, 'must be at least 1 ms'), z.maximum(2 ** 31 - 1, 'must be at most 24 days'));

const cmdline = z.string().check(
  z.refine(
    (text) => new TextEncoder().encode(text).length <= MAX_CMDLINE,
    `is longer than ${MAX_CMDLINE} bytes`,
  ),
  z.refine((text) => !text.includes('\0'), 'contains a NUL character'),
);
const cpus = z
  .number()
  .check(z.int(), z.minimum(1, 'must be at least 1'), z.maximum(MAX_CPUS, `must be at most ${MAX_CPUS}`));
const diskSource = z.union(
  [z.string().check(z.minLength(1)), url, bytes, objectWith<BlockBackend>('a disk', 'read')],
  'expected a path, a file: URL, bytes, or an object with size and read()',
);
type DiskSource = string | URL | Uint8Array | BlockBackend;
type DiskInput = DiskSource | ({ source: DiskSource } & Record<string, unknown>);
/** A bare source is short for `{ source }`. */
const disk = z.pipe(
  z.transform((value: DiskInput) =>
    typeof value === 'object' && value !== null && 'source' in value ? value : { source: value },
  ),
  z.strictObject({
    source: diskSource,
    id: z.optional(identifier),
    readOnly: z._default(z.boolean(), false),
    format: z.optional(z.enum(['raw', 'qcow2'])),
    direct: z._default(z.boolean(), false),
    queues: z._default(
      z.number().check(z.int(), z.minimum(1, 'must be at least 1'), z.maximum(16, 'must be at most 16')),
      1,
    ),
    overlay: z.optional(z.string().check(z.minLength(1))),
    rateLimit: z.optional(rateLimit),
  }),
);
/** Names that were given; the others are made from the position. */
const disks = z.array(disk).check((context) => {
  const seen = new Set<string>();
  for (const [index, { id }] of context.value.entries()) {
    const name = id ?? `disk${index}`;
    if (seen.has(name)) {
      context.issues.push({ code: 'custom', message: `"${name}" is taken`, input: id, path: [index, 'id'] });
    }
    seen.add(name);
  }
});
const rng = z.pipe(
  z.transform((value: boolean | { rateLimit?: unknown }) =>
    value === true ? {} : value === false ? undefined : value,
  ),
  z.optional(z.strictObject({ rateLimit: z.optional(rateLimit) })),
);

/** With its port a guest's socket is `PATH_4294967294`; a socket's name has 107 bytes (unix(7)). */
const MAX_VSOCK_PATH = 107 - 11;
const socketPath = z.string().check(
  z.minLength(1),
  z.refine(
    (path) => new TextEncoder().encode(path).length <= MAX_VSOCK_PATH,
    `is longer than ${MAX_VSOCK_PATH} bytes: a socket's name has room for no more, with a port behind it`,
  ),
  z.refine((path) => !path.includes('\0'), 'contains a NUL character'),
);
type VsockInput = boolean | number | { cid?: number | undefined; path?: string | undefined };
/** `true` is short for the default CID, a number for `{ cid }`. */
const vsock = z.pipe(
  z.transform((value: VsockInput) =>
    value === false ? undefined : value === true ? {} : typeof value === 'number' ? { cid: value } : value,
  ),
  z.optional(
    z.strictObject({
      cid: z._default(
        z
          .number()
          .check(
            z.int(),
            z.minimum(LEAST_CID, `must be at least ${LEAST_CID}`),
            z.maximum(MOST_CID, `must be at most ${MOST_CID}`),
          ),
        LEAST_CID,
      ),
      path: z.optional(socketPath),
    }),
  ),
);

const flat = z.strictObject({
  load: z._default(address, 0x1000),
  entry: z.optional(address),
  mode: z._default(z.enum(['real', 'long']), 'real'),
  irqchip: z._default(z.boolean(), false),
});
const timeouts = z.strictObject({ run: z.optional(milliseconds) });

const described = <T extends z.ZodMiniType>(type: T, value: string, text: string, flag?: string): T => {
  optionHelp.add(type, { text, value, flag });
  return type;
};

/** Every option: a zod schema whose input is `VmConfig`. Programs read it to make forms, flags or documentation. */
export const schema = z.strictObject({
  /** Required. A path, a file: URL, or the bytes of an x86-64 ELF vmlinux or a bzImage; of a flat binary with `flat`. */
  kernel: described(file, 'PATH', 'Kernel: an x86-64 vmlinux (ELF) or a bzImage'),
  /** A path, a file: URL, or bytes: a cpio archive, compressed as the kernel can undo it. */
  initrd: described(z.optional(file), 'PATH', 'Initial RAM file system'),
  /** 2047 bytes of UTF-8 at most with what is added, without NUL. Words given here are not added again. Default empty. */
  cmdline: described(
    z._default(cmdline, ''),
    'TEXT',
    'Kernel command line; console=ttyS0, reboot=k, panic=-1 and what spares a search for absent devices are added',
  ),
  /**
   * Bytes, or a text such as `256M` (binary units), or `{ size, pages }`: whole pages, 1 MiB to 511 GiB, no more than the host
   * has. `pages` is `default`, `transparent` (huge pages where the host finds them) or `2M` (reserved ones). Default 256 MiB.
   */
  memory: described(
    z._default(memory, { size: 256 * MiB, pages: 'default' as const }),
    'SIZE[,pages=KIND]',
    'Guest memory: bytes or 256M, 1.5G; backed by default, transparent or 2M pages (default 256M)',
  ),
  /** vCPUs, 1 to 32. Default 1. */
  cpus: described(z._default(cpus, 1), 'N', `Virtual CPUs, 1 to ${MAX_CPUS} (default 1)`),
  /**
   * For each vCPU the host CPU, or the list of them, that it may run on, by their numbers from 0. vCPUs that it does not reach run
   * anywhere, which is the default for all. Every one must be online when the machine is created.
   */
  affinity: described(
    z._default(affinity, []),
    'CPUS[,CPUS]…',
    'Host CPUs for each vCPU in turn: 0,1 binds two of them; 0-3 and 0+2 are sets (default: any)',
  ),
  /**
   * The guest's CPU: what the host has, less what `mask` names, by the names of /proc/cpuinfo. `set` hides features (false) or demands
   * them (true): `vmx` or `svm` for virtual machines in the guest, which are off unless asked for. `template` is a custom CPU
   * template of Firecracker's, an object or a file: bits of CPUID and of MSRs, and KVM's capabilities. What the host cannot give
   * is refused when the machine is created.
   */
  cpu: described(
    z.optional(cpu),
    '[template=FILE][,FEATURE=on|off]…',
    "The guest's CPU: hide or demand features by their names in /proc/cpuinfo; nested virtualization is off without vmx=on or " +
      'svm=on. A template is a JSON file in the form of Firecracker',
  ),
  /** `linux64` (64-bit boot protocol), `pvh`, or `auto`, which is linux64. */
  boot: described(
    z._default(z.enum(['auto', 'linux64', 'pvh']), 'auto'),
    'PROTOCOL',
    'Boot protocol: auto, linux64 or pvh (default auto: linux64)',
  ),
  /**
   * Run `kernel` as a flat binary: placed at `load` (default 0x1000), started at `entry` (default `load`) in `mode` `real`
   * (16-bit, the default) or `long` (64-bit, first GiB mapped). With `irqchip` it gets interrupt controllers and a PIT, and HLT
   * waits for interrupts; without, HLT ends the VM.
   */
  flat: described(
    z.optional(flat),
    'PATH[,load=ADDR][,entry=ADDR][,mode=real|long][,irqchip]',
    'Run a flat binary instead of a kernel: loaded at 0x1000 and started there in real mode, unless given',
  ),
  disks: described(
    z._default(disks, []),
    'PATH[,readOnly][,id=ID][,format=raw|qcow2][,direct][,queues=N][,overlay=memory|PATH]',
    'Block device, /dev/vda for the first; may be given several times. With no initrd the first one is the root',
    'disk',
  ),
  /**
   * Network cards, eth0 for the first. Each is one network: `backend`, an object of yours with `send` and `onReceive` or a port of a
   * `Hub`; `stream`, a Unix socket of QEMU's `-netdev stream`, passt or another machine; `tap`, an interface of the host, by its
   * name, made if it does not exist, or as `{ name, queues }` with up to 16 queues, or `{ fd }` for open descriptors; or `user`, a
   * network that needs no rights: `true` or its options. With `id` (default `net0` on), `mac` (made up), `mtu` (68 to 65535) and
   * `rateLimit` for `rx` and `tx`. A back end alone, or one card without a list, will do.
   */
  net: described(
    z._default(networkCards, []),
    'user|tap:NAME[,queues=N]|stream:PATH[,listen][,mac=MAC][,mtu=BYTES][,id=ID]',
    'Network card, eth0 for the first; may be given several times. user: out through this host, without rights, see --allow; ' +
      'tap: an interface of this host; stream: a Unix socket of passt, QEMU or another machine',
  ),
  /** A file, made anew: every frame of every card, in pcapng. */
  pcap: described(
    z.optional(z.string().check(z.minLength(1))),
    'FILE',
    'Write every frame of every network card to a capture file, for tcpdump or Wireshark',
  ),
  /**
   * Socket device: `true`, a CID, or `{ cid, path }`. The CID, 3 to 2^32 - 2, is the guest's address; default 3. `path` names a Unix socket, of
   * up to 96 bytes, for other programs, by Firecracker's protocol; nothing may be there yet.
   */
  vsock: described(
    z.optional(vsock),
    'CID[,path=PATH]',
    "Socket device: programs reach the guest's ports through the Unix socket PATH (CONNECT PORT), and the guest theirs at PATH_PORT",
  ),
  /**
   * Puts the agent into the guest and lets it be its first process: `vm.exec`, `vm.spawn` and `vm.fs` work then, and nothing else runs. It
   * comes in the initrd, behind the one that is given, and mounts the root that the command line names. Implies `vsock`. Default false.
   */
  agent: described(
    z._default(z.boolean(), false),
    '',
    'Let the first process of the guest be the agent of vm.exec, instead of its own: it waits for programs to run',
  ),
  rng: described(z.optional(rng), '', 'Entropy device: the host feeds /dev/hwrng'),
  console: described(
    z._default(z.boolean(), false),
    '',
    "Virtio console: the guest's /dev/hvc0, faster than the serial port. It takes standard input and output",
  ),
  devices: described(
    z._default(z.array(objectWith<VirtioDevice>('a VirtioDevice', 'activate', 'kick', 'reset')), []),
    'MODULE',
    'Virtio device of your own: a JavaScript module that exports it as `device`; may be given several times',
    'device',
  ),
  /** Whether a kernel that cannot run on this host's KVM is refused (the default) or tried all the same. */
  hostCheck: described(
    z._default(z.enum(['refuse', 'ignore']), 'refuse'),
    'refuse|ignore',
    "What to do with a kernel that this host's KVM cannot run (default refuse)",
  ),
  /** `run`: ms from `start()` after which the VM is ended with reason `timeout`. No limit by default. */
  timeouts: described(
    z._default(timeouts, {}),
    'SECONDS',
    'End the VM after this long, with exit code 124',
    'timeout',
  ),
  /** For messages; need not be unique, unless other processes are to find it by that: `serveControl`. Default `vm`. */
  name: described(
    z._default(z.string().check(z.minLength(1)), 'vm'),
    'NAME',
    'Name for messages (default vm), and for ls, exec, cp and stop, with the agent as first process of the guest: see --no-agent',
  ),
  /** Its abort makes `create` and `start` throw its reason, and ends a VM that runs (reason `killed`). */
  signal: z.optional(z.custom<AbortSignal>((value) => value instanceof AbortSignal)),
});

/** What an embedder writes: the options of `schema`, of which only `kernel` is required. */
export type VmConfig = z.input<typeof schema>;
type Output = z.output<typeof schema>;
/** What the monitor works with: complete, sizes in bytes, frozen. */
export type ResolvedConfig = Readonly<
  Omit<Output, 'flat'> & {
    flat: { load: number; entry: number; mode: 'real' | 'long'; irqchip: boolean } | undefined;
  }
>;

/**
 * Checks a configuration as `VirtualMachine.create` does first: everything that needs no look at the host.
 * @returns all options with their defaults, sizes in bytes, frozen
 * @throws ConfigError with every problem and where it is
 */
export function parseConfig(input: VmConfig): ResolvedConfig {
  // Compiling a parser for one object takes longer than parsing it.
  const result = z.safeParse(schema, input, { reportInput: true, jitless: true });
  if (!result.success)
    throw new ConfigError(result.error.issues.flatMap((issue) => describeIssue(issue, schema)));
  const { flat, vsock, ...rest } = result.data;
  if (rest.pcap !== undefined && rest.net.length === 0) {
    throw new ConfigError([
      { path: 'pcap', message: 'there is no network card whose frames could be written' },
    ]);
  }
  if (rest.affinity.length > rest.cpus) {
    const message = `there ${rest.cpus === 1 ? 'is 1 vCPU' : `are ${rest.cpus} vCPUs`}`;
    throw new ConfigError([{ path: `affinity.${rest.cpus}`, message }]);
  }
  if (flat && rest.agent)
    throw new ConfigError([{ path: 'agent', message: 'needs Linux in the guest, not a flat binary' }]);
  const sockets = vsock ?? (rest.agent ? { cid: LEAST_CID } : undefined);
  return Object.freeze({
    ...rest,
    vsock: sockets,
    flat: flat && { ...flat, entry: flat.entry ?? flat.load },
  });
}
