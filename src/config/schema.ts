/**
 * Every option of a virtual machine, once: types, defaults, help texts and error paths all come from here. Pure: what
 * needs the host (does the file exist, is there that much memory) is checked where it is used, in vm/.
 */
import * as z from 'zod/mini';
import { ConfigError } from '../base/errors.js';
import { formatSize, MiB, PAGE_SIZE, parseSize } from '../base/units.js';

/** Most vCPUs: what the MP table and the tests cover. */
export const MAX_CPUS = 32;
const MAX_CMDLINE = 2047;
const MIN_MEMORY = MiB;
/** 39 bits of guest-physical space, less the MMIO gap. */
const MAX_MEMORY = 2 ** 39 - 2 ** 30;

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
const memory = z.union([
  z.pipe(
    memorySize,
    z.transform((value: number) => ({ size: value, pages: 'default' as const })),
  ),
  z.strictObject({ size: memorySize, pages: z._default(pages, 'default') }),
]);

const address = z.number().check(z.int(), z.minimum(0));
const milliseconds = z.number().check(z.minimum(1), z.maximum(2 ** 31 - 1));

export const schema = z.strictObject({
  kernel: file,
  initrd: z.optional(file),
  cmdline: z._default(
    z.string().check(
      z.maxLength(MAX_CMDLINE, `is longer than ${MAX_CMDLINE} bytes`),
      z.refine((text) => !text.includes('\0'), 'contains a NUL character'),
    ),
    '',
  ),
  memory: z._default(memory, { size: 256 * MiB, pages: 'default' }),
  cpus: z._default(
    z
      .number()
      .check(
        z.int('must be a whole number'),
        z.minimum(1, 'at least 1'),
        z.maximum(MAX_CPUS, `at most ${MAX_CPUS}`),
      ),
    1,
  ),
  boot: z._default(z.enum(['auto', 'linux64', 'pvh']), 'auto'),
  flat: z.optional(
    z.strictObject({
      load: z._default(address, 0x1000),
      entry: z.optional(address),
      mode: z._default(z.enum(['real', 'long']), 'real'),
      irqchip: z._default(z.boolean(), false),
    }),
  ),
  hostCheck: z._default(z.enum(['refuse', 'ignore']), 'refuse'),
  timeouts: z._default(z.strictObject({ run: z.optional(milliseconds) }), {}),
  name: z._default(z.string().check(z.minLength(1)), 'vm'),
  signal: z.optional(z.custom<AbortSignal>((value) => value instanceof AbortSignal)),
});

/** What an embedder writes. */
export type VmConfig = z.input<typeof schema>;
type Output = z.output<typeof schema>;
/** What the monitor works with: complete, sizes in bytes, frozen. */
export type ResolvedConfig = Readonly<
  Omit<Output, 'flat'> & {
    flat: { load: number; entry: number; mode: 'real' | 'long'; irqchip: boolean } | undefined;
  }
>;

/** @throws ConfigError with every problem and where it is */
export function parseConfig(input: VmConfig): ResolvedConfig {
  const result = z.safeParse(schema, input);
  if (!result.success) {
    throw new ConfigError(
      result.error.issues.map(({ path, message }) => ({ path: path.map(String).join('.'), message })),
    );
  }
  const { flat, ...rest } = result.data;
  return Object.freeze({ ...rest, flat: flat && { ...flat, entry: flat.entry ?? flat.load } });
}
