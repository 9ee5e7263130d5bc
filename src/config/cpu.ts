/** The options of a guest's CPU: pure, as all of the schema. Names and templates are checked where there is a host: vm/cpu.ts. */
import * as z from 'zod/mini';

const template = z.union(
  [
    z.string().check(z.minLength(1)),
    z.custom<URL>((value) => value instanceof URL && value.protocol === 'file:'),
    z.custom<Record<string, unknown>>(
      (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    ),
  ],
  'expected a path, a file: URL, or the template itself',
);

export const cpu = z.strictObject({
  mask: z._default(z.array(z.string()), []),
  set: z._default(z.record(z.string(), z.boolean()), {}),
  template: z.optional(template),
});
export type ResolvedCpu = z.output<typeof cpu>;
