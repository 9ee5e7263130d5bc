/**
 * Firecracker's custom CPU template (its docs/cpu_templates/cpu-templates.md), for x86-64: which bits of which CPUID leaves
 * and MSRs are to be 0 or 1, and which capabilities of KVM to ask for. Loaded when a configuration has a template.
 */
import * as z from 'zod/mini';
import { ConfigError } from '../base/errors.js';
import { describeIssue } from './issues.js';

/** Firecracker takes numbers in these two notations, and so do we: a template that works here works there. */
const number = (bits: number) =>
  z.pipe(
    z.string(),
    z.transform((text: string, context): number => {
      const value = /^0x[0-9a-f]+$/i.test(text) || /^0b[01]+$/.test(text) ? Number(text) : Number.NaN;
      if (value < 2 ** bits) return value;
      const message = `"${text}" is no number of ${bits} bits; write it as 0x1f or 0b11111`;
      context.issues.push({ code: 'custom', message, input: text });
      return z.NEVER;
    }),
  );

/** The last digit is bit 0; bits that are x, or not written, stay as they are. */
const bitmap = (bits: number) =>
  z.pipe(
    z.string(),
    z.transform((text: string, context): { filter: bigint; value: bigint } => {
      const digits = /^0b([01x_]*[01x])$/.exec(text)?.[1]?.replaceAll('_', '');
      if (digits !== undefined && digits.length <= bits) {
        return {
          filter: BigInt(`0b${digits.replaceAll('0', '1').replaceAll('x', '0')}`),
          value: BigInt(`0b${digits.replaceAll('x', '0')}`),
        };
      }
      const message = `"${text}" is no bitmap of up to ${bits} bits; write 0b and then 0, 1, or x for what stays`;
      context.issues.push({ code: 'custom', message, input: text });
      return z.NEVER;
    }),
  );

const leaf = z.strictObject({
  leaf: number(32),
  subleaf: number(32),
  flags: z.number().check(z.int(), z.minimum(0), z.maximum(7, 'must be at most 7: KVM has three flags')),
  modifiers: z.array(z.strictObject({ register: z.enum(['eax', 'ebx', 'ecx', 'edx']), bitmap: bitmap(32) })),
});
const msr = z.strictObject({ addr: number(32), bitmap: bitmap(64) });
/** `121` must be there; `!56` is not asked for. */
const capability = z.pipe(
  z.string(),
  z.transform((text: string, context): { number: number; wanted: boolean } => {
    const [, not, digits] = /^(!?)(\d{1,6})$/.exec(text) ?? [];
    if (digits !== undefined) return { number: Number(digits), wanted: not === '' };
    const message = `"${text}" is no capability; write its number, as 121, or !121 not to ask for it`;
    context.issues.push({ code: 'custom', message, input: text });
    return z.NEVER;
  }),
);

const schema = z.strictObject({
  kvm_capabilities: z._default(z.array(capability), []),
  cpuid_modifiers: z._default(z.array(leaf), []),
  msr_modifiers: z._default(z.array(msr), []),
});
export type CpuTemplate = z.output<typeof schema>;

/**
 * @param path where the template is in the configuration
 * @throws ConfigError with every problem and where it is
 */
export function parseCpuTemplate(template: unknown, path: string): CpuTemplate {
  const result = z.safeParse(schema, template, { reportInput: true, jitless: true });
  if (result.success) return result.data;
  const issues = result.error.issues.flatMap((issue) => describeIssue(issue, schema));
  throw new ConfigError(
    issues.map((issue) => ({ ...issue, path: issue.path === '' ? path : `${path}.${issue.path}` })),
  );
}
