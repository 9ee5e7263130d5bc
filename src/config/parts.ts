/** What options of several kinds are made of: pure, as all of the schema. */
import * as z from 'zod/mini';

const bucket = z.strictObject({
  size: z.number().check(z.int(), z.minimum(1, 'must be at least 1')),
  refillMs: z.number().check(z.minimum(1, 'must be at least 1 ms')),
  oneTimeBurst: z.optional(z.number().check(z.int(), z.minimum(0))),
});
/** `{ bandwidth, ops }`, each a bucket. */
export const rateLimit = z.strictObject({ bandwidth: z.optional(bucket), ops: z.optional(bucket) });

/** An object with these methods; what they do is checked when they are called. */
export const objectWith = <T>(what: string, ...methods: (keyof T & string)[]) =>
  z.custom<T>(
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      methods.every((name) => typeof (value as Record<string, unknown>)[name] === 'function'),
    `expected ${what}`,
  );

/** A name of a device. */
export const identifier = z
  .string()
  .check(z.regex(/^[A-Za-z0-9_.-]{1,20}$/, 'must be 1 to 20 of A-Z a-z 0-9 . _ -'));
