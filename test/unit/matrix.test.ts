/** `npm run matrix`: its table. */
import { expect, it } from 'vitest';
import { CPUS } from '../matrix/cell.js';
import { matrixTable } from '../matrix/table.js';

it('a table has a word for every cell, and a reason where it is a no', () => {
  const cells = CPUS.map((cpus) => ({ guest: 'flat', cpus, ...(cpus === 4 && { problem: 'a|b' }) }));
  const hosts = [
    { host: 'one', cells },
    { host: 'two', cells: [], problem: 'no KVM' },
  ];
  expect(matrixTable(hosts, ['flat', 'lean'])).toBe(
    [
      '| host | guest | 1 vCPU            | 2 vCPUs           | 4 vCPUs           |',
      '| ---- | ----- | ----------------- | ----------------- | ----------------- |',
      '| one  | flat  | yes               | yes               | no: a\\|b          |',
      '| one  | lean  | no: was not tried | no: was not tried | no: was not tried |',
      '| two  | flat  | no: no KVM        | no: no KVM        | no: no KVM        |',
      '| two  | lean  | no: no KVM        | no: no KVM        | no: no KVM        |',
    ].join('\n'),
  );
});
