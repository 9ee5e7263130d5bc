/** The `net` option: which cards there are, and what each is connected to. Pure, as all of the schema. */
import * as z from 'zod/mini';
import type { NetBackend } from '../devices/net/backend.js';
import { parseMac } from '../devices/net/mac.js';
import { identifier, objectWith, rateLimit } from './parts.js';
import { userNetwork } from './user-network.js';

const macAddress = z
  .string()
  .check(
    z.refine((text) => parseMac(text) !== undefined, 'must be the address of a card, as 02:00:00:00:00:01'),
  );
const socket = z.pipe(
  z.transform((value: string | { path: string; listen?: boolean | undefined }) =>
    typeof value === 'string' ? { path: value } : value,
  ),
  z.strictObject({
    path: z.string().check(z.minLength(1)),
    listen: z._default(z.boolean(), false),
  }),
);
/** As the kernel takes it (dev_valid_name in net/core/dev.c), and less. */
const interfaceName = z
  .string()
  .check(z.regex(/^[A-Za-z0-9_.-]{1,15}$/, 'must be 1 to 15 of A-Z a-z 0-9 . _ -'));
const descriptor = z.number().check(z.int(), z.minimum(0));
type TapInput =
  | string
  | { name?: string | undefined; fd?: number | number[] | undefined; queues?: number | undefined };
const tap = z.pipe(
  z.transform((value: TapInput) => {
    if (typeof value === 'string') return { name: value };
    return typeof value?.fd === 'number' ? { ...value, fd: [value.fd] } : value;
  }),
  z
    .strictObject({
      name: z.optional(interfaceName),
      fd: z.optional(z.array(descriptor).check(z.minLength(1))),
      queues: z.optional(
        z.number().check(z.int(), z.minimum(1, 'must be at least 1'), z.maximum(16, 'must be at most 16')),
      ),
    })
    .check((context) => {
      const { name, fd, queues } = context.value;
      const refuse = (message: string): void => {
        context.issues.push({ code: 'custom', message, input: context.value });
      };
      if ((name === undefined) === (fd === undefined)) refuse('must have a name, or descriptors (fd)');
      else if (fd && queues !== undefined) refuse('has as many queues as descriptors');
    }),
);
/** What a card may be connected to; each card names one of them. */
const NETWORKS = ['backend', 'stream', 'tap', 'user'] as const;
const card = z.strictObject({
  backend: z.optional(objectWith<NetBackend>('a network', 'send', 'onReceive')),
  stream: z.optional(socket),
  tap: z.optional(tap),
  user: z.optional(userNetwork),
  id: z.optional(identifier),
  mac: z.optional(macAddress),
  mtu: z.optional(
    z
      .number()
      .check(z.int(), z.minimum(68, 'must be at least 68'), z.maximum(65535, 'must be at most 65535')),
  ),
  rateLimit: z.optional(z.strictObject({ rx: z.optional(rateLimit), tx: z.optional(rateLimit) })),
});
type CardInput = NetBackend | z.input<typeof card>;
/** A bare back end is short for `{ backend }`, and one card for a list of one. */
export const networkCards = z.pipe(
  z.transform((value: false | CardInput | readonly CardInput[]) => {
    const cards = value === false ? [] : Array.isArray(value) ? value : [value];
    return cards.map((one: unknown) =>
      typeof one === 'object' && one !== null && 'send' in one ? { backend: one } : one,
    );
  }),
  z.array(card).check((context) => {
    const seen = new Set<string>();
    for (const [index, one] of context.value.entries()) {
      const refuse = (message: string, ...path: string[]): void => {
        context.issues.push({ code: 'custom', message, input: one, path: [index, ...path] });
      };
      if (NETWORKS.filter((kind) => one[kind] !== undefined).length !== 1) {
        refuse(`must name one network: ${NETWORKS.join(', ')}`);
      }
      const name = one.id ?? `net${index}`;
      if (seen.has(name)) refuse(`"${name}" is taken`, 'id');
      seen.add(name);
    }
  }),
);
