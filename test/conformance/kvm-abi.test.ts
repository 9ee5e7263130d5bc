/** Every number in kvm/abi.ts against <linux/kvm.h>, by one C program. */
import { describe, expect, it } from 'vitest';
import {
  caps,
  exitReasons,
  flags,
  internalErrors,
  ioctls,
  KVM_API_VERSION,
  structs,
} from '../../src/kvm/abi.js';
import { type CStruct, sizeOf } from '../../src/kvm/cstruct.js';
import { evaluateC } from '../support/compile.js';

const claims = new Map<string, bigint>();
const claim = (expression: string, value: number): void => {
  claims.set(expression, BigInt(value));
};

/** kvm_run's head ends where its union starts, and the union's members have no type names of their own. */
const UNION_MEMBERS = new Set(['io', 'mmio', 'fail_entry', 'internal', 'system_event']);

for (const type of Object.values(structs) as CStruct[]) {
  const [outer, member] = type.name.split('.');
  if (member !== undefined) {
    expect(UNION_MEMBERS).toContain(member);
    for (const [field, offset] of Object.entries(type.offsets)) {
      claim(`offsetof(struct kvm_run, ${member}.${field})`, structs.kvm_run.size + offset);
    }
    continue;
  }
  for (const [field, offset] of Object.entries(type.offsets))
    claim(`offsetof(struct ${outer}, ${field})`, offset);
  for (const [field, declared] of Object.entries(type.fields)) {
    claim(`sizeof(((struct ${outer} *)0)->${field})`, sizeOf(declared));
  }
  if (type !== structs.kvm_run) claim(`sizeof(struct ${outer})`, type.size);
}
for (const [name, { request }] of Object.entries(ioctls)) claim(name, request);
for (const [name, value] of Object.entries({ ...caps, ...exitReasons, ...internalErrors, KVM_API_VERSION }))
  claim(name, value);
for (const [name, value] of Object.entries(flags)) claim(name, value);

describe('the KVM declarations', () => {
  const actual = evaluateC(['linux/kvm.h'], [...claims.keys()]);

  it('covers every struct, request, capability and flag it declares', () => {
    expect(claims.size).toBeGreaterThan(300);
  });

  it.each([...claims])('%s is %i', (expression, value) => {
    expect(actual.get(expression)).toBe(value);
  });

  it('tells requests apart that share a number (0x9f)', () => {
    const numbers = Object.values(ioctls).map(({ request }) => request);
    expect(new Set(numbers).size).toBe(numbers.length);
  });
});
