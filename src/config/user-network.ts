/** The options of a network that needs no rights: pure, as all of the schema. */
import * as z from 'zod/mini';
import type { FetchHook } from '../backends/user-net/http/interceptor.js';
import type { NetPolicy } from '../backends/user-net/net-policy.js';

const port = z
  .number()
  .check(z.int(), z.minimum(1, 'must be at least 1'), z.maximum(65535, 'must be at most 65535'));
/** `127.0.0.1:8080:80`, `[::1]:8080:80`, `8080:80`, `8053:53/udp` */
const FORWARD = /^(?:(\[[^\]]+\]|[^:[\]]+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/;
/** A forward: `127.0.0.1:8080:80`, `8053:53/udp`, or its parts. */
export type ForwardInput =
  | string
  | {
      host?: string | undefined;
      port?: number | undefined;
      guestPort: number;
      proto?: 'tcp' | 'udp' | undefined;
    };
const forward = z.pipe(
  z.transform((value: ForwardInput, context): Exclude<ForwardInput, string> => {
    if (typeof value !== 'string') return value;
    const [, host, from, to, proto] = FORWARD.exec(value) ?? [];
    if (to !== undefined) {
      return {
        ...(host && { host: host.replace(/^\[|\]$/g, '') }),
        port: Number(from),
        guestPort: Number(to),
        ...(proto && { proto: proto as 'tcp' | 'udp' }),
      };
    }
    const message = `"${value}" is no forward; write HOST:PORT:GUESTPORT or PORT:GUESTPORT, with /udp behind it for UDP`;
    context.issues.push({ code: 'custom', message, input: value });
    return z.NEVER;
  }),
  z.strictObject({
    host: z._default(z.string().check(z.minLength(1)), '127.0.0.1'),
    port: z._default(z.number().check(z.int(), z.minimum(0), z.maximum(65535, 'must be at most 65535')), 0),
    guestPort: port,
    proto: z._default(z.enum(['tcp', 'udp']), 'tcp'),
  }),
);
const rules = z.array(
  z.union(
    [z.string(), z.custom<RegExp>((value) => value instanceof RegExp)],
    'expected a rule, as example.com:443, or a regular expression',
  ),
);
const callback = <T>() => z.custom<T>((value) => typeof value === 'function', 'expected a function');
/** `true`, or what differs from the usual. Rules and networks are checked by the network itself, with the same paths: vm/nets.ts. */
export const userNetwork = z.pipe(
  z.transform((value: true | UserNetInput) => (value === true ? {} : value)),
  z.strictObject({
    subnet: z.optional(z.string()),
    ipv6: z._default(z.boolean(), true),
    hostname: z.optional(z.string()),
    domain: z.optional(z.string()),
    allow: z.optional(rules),
    deny: z.optional(rules),
    connect: z.optional(callback<NonNullable<NetPolicy['connect']>>()),
    dns: z.optional(callback<NonNullable<NetPolicy['dns']>>()),
    fetch: z.optional(callback<FetchHook>()),
    secrets: z.optional(
      z.record(z.string(), z.strictObject({ value: z.string(), hosts: z.array(z.string()) })),
    ),
    trust: z.optional(z.string()),
    forwards: z._default(z.array(forward), []),
  }),
);
/** What an embedder writes for a user network: a policy, and what follows. */
export interface UserNetInput extends NetPolicy {
  /** The guest's network, 24 to 28 bits: `10.0.2.0/24` unless given. */
  subnet?: string | undefined;
  /** Whether the guest gets IPv6 too. Default true. */
  ipv6?: boolean | undefined;
  /** What DHCP tells the guest it is called. */
  hostname?: string | undefined;
  /** The domain that DHCP tells the guest. */
  domain?: string | undefined;
  /** Sees and may answer the guest's HTTP and HTTPS requests; HTTPS if the guest trusts `user.certificate()`. */
  fetch?: FetchHook | undefined;
  /** Secrets that HTTPS requests to their hosts carry, and that the guest never has. */
  secrets?: Record<string, { value: string; hosts: string[] }> | undefined;
  /** Certificates that HTTPS servers may have beside those that Node trusts, PEM. */
  trust?: string | undefined;
  /** Ports of the host that lead to the guest. */
  forwards?: readonly ForwardInput[] | undefined;
}
