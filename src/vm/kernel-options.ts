/**
 * What a kernel that failed was built without, for a hint: told by the configuration inside its image (CONFIG_IKCONFIG), or by the
 * console. Looked at after the end only, so a guest that runs pays nothing for it.
 * Runs on: main.
 */
import type { ResolvedConfig } from '../config/schema.js';
import type { ExitInfo, ExitReason } from './exit-info.js';
import { type GuestFile, openGuestFile } from './guest-file.js';

/** kernel/configs.c: the gzipped configuration lies between these. */
const START = 'IKCFG_ST';
const END = 'IKCFG_ED';
/** A configuration is some 60 KiB, packed. */
const MAX_PACKED = 2 ** 20;
const CHUNK = 4 * 2 ** 20;

/** Options that are built in (`y`) or modules (`m`); undefined when the image does not tell. */
export function kernelOptions(image: GuestFile): ReadonlyMap<string, string> | undefined {
  for (let offset = 0; offset < image.size; offset += CHUNK) {
    // The next chunk's beginning as well: a marker may lie across.
    const chunk = Buffer.from(image.read(offset, CHUNK + START.length));
    const at = chunk.indexOf(START, 0, 'latin1');
    if (at < 0) continue;
    const packed = Buffer.from(image.read(offset + at + START.length, MAX_PACKED));
    const end = packed.indexOf(END, 0, 'latin1');
    if (end < 0) return undefined;
    try {
      const { gunzipSync } = process.getBuiltinModule('node:zlib');
      const text = gunzipSync(packed.subarray(0, end), { maxOutputLength: 8 * MAX_PACKED }).toString(
        'latin1',
      );
      return new Map([...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]));
    } catch {
      return undefined; // damaged: nothing is known
    }
  }
  return undefined;
}

/** What is wanted of a kernel, and for what; one of several options will do. */
interface Want {
  readonly any: readonly string[];
  readonly what: string;
}
const SERIAL: Want = { any: ['CONFIG_SERIAL_8250_CONSOLE'], what: 'a console on ttyS0' };
const MMIO: Want = { any: ['CONFIG_VIRTIO_MMIO'], what: 'any virtio device' };
const FOUND: Want = { any: ['CONFIG_ACPI', 'CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES'], what: 'finding them' };
const DISK: Want = { any: ['CONFIG_VIRTIO_BLK'], what: 'disks' };
const INITRD: Want = { any: ['CONFIG_BLK_DEV_INITRD'], what: 'an initrd' };

/** How an end and the console's last words read to one who wonders about options. */
export interface FailedBoot {
  readonly reason: ExitReason;
  /** Whether the guest wrote anything to its serial console. */
  readonly silent: boolean;
  /** Its panic's words. */
  readonly panic: string | undefined;
}

/** The end as it is, with a hint where it has none and options may be why. */
export function withOptionHint(
  end: ExitInfo,
  config: ResolvedConfig,
  silent: boolean,
  panic: string | undefined,
): ExitInfo {
  const hint = end.hint ?? optionHint(config, { reason: end.reason, silent, panic });
  return hint === undefined ? end : { ...end, hint };
}

/** @returns a hint when options may be why; undefined otherwise */
export function optionHint(
  config: Pick<ResolvedConfig, 'kernel' | 'disks' | 'initrd' | 'flat'>,
  boot: FailedBoot,
  options: () => ReadonlyMap<string, string> | undefined = () => optionsOf(config.kernel),
): string | undefined {
  const noRoot = boot.panic !== undefined && /unable to mount root|no working init/i.test(boot.panic);
  const hangs = boot.reason === 'timeout' || boot.reason === 'halted';
  if (config.flat || !(noRoot || (hangs && boot.silent))) return undefined;
  const wants = noRoot
    ? [...(config.initrd ? [INITRD] : []), ...(config.disks.length > 0 ? [MMIO, FOUND, DISK] : [])]
    : [SERIAL];
  if (wants.length === 0) return undefined;
  const known = options();
  if (!known) return `does the kernel have ${wants.map(inWords).join('; ')}? its image does not tell`;
  const missing = wants.filter(({ any }) => !any.some((name) => known.get(name) === 'y'));
  if (missing.length === 0) return undefined;
  const modules = missing.some(({ any }) => any.some((name) => known.get(name) === 'm'));
  const how = modules ? '; modules must be in an initrd' : '';
  return `the kernel was built without ${missing.map(inWords).join('; ')}${how}`;
}

const inWords = ({ any, what }: Want): string => `${any.join(' or ')} (${what})`;

function optionsOf(kernel: ResolvedConfig['kernel']): ReadonlyMap<string, string> | undefined {
  try {
    using image = openGuestFile('kernel', kernel);
    return kernelOptions(image);
  } catch {
    return undefined; // gone meanwhile
  }
}
