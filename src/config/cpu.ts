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

/** Most host CPUs: as many as Linux can be built for. */
const MAX_HOST_CPUS = 8192;
const hostCpu = z
  .number()
  .check(z.int(), z.minimum(0), z.maximum(MAX_HOST_CPUS - 1, `must be at most ${MAX_HOST_CPUS - 1}`));
/** A number for a vCPU is short for a list of one. */
export const affinity = z.array(
  z.pipe(
    z.transform((value: number | number[]) => (typeof value === 'number' ? [value] : value)),
    z.array(hostCpu).check(z.minLength(1)),
  ),
);
