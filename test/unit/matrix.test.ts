/** `npm run matrix`: its table, and the one that README.md keeps. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { STOCK_SERIES } from '../../guest-kernels/stock.js';
import { CPUS } from '../matrix/cell.js';
import { matrixTable } from '../matrix/table.js';
import { tableRows } from '../support/markdown.js';

it('a table has a word for every cell, and a reason where it is a no', () => {
  const cells = CPUS.map((cpus) => ({ guest: 'flat', cpus, ...(cpus === 4 && { problem: 'a|b: more' }) }));
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

it('README.md has a row for every guest on two kinds of host, and a reason for every no', () => {
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
  const rows = tableRows(readme, 'host', 'guest', '1 vCPU', '2 vCPUs', '4 vCPUs');
  const guests = ['flat', 'lean 6.1', ...STOCK_SERIES.map((series) => `stock ${series}`)];
  expect(rows.map(([, guest]) => guest)).toEqual([...guests, ...guests]);
  for (const [, , ...cells] of rows) for (const cell of cells) expect(cell).toMatch(/^yes$|^no: \S.{10,}$/);
});
