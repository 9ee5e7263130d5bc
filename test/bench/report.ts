/** The final table, and what each row rests on. Runs on: main. */
import type { Comparison, Row } from './benchmark.js';
import { median } from './statistics.js';

/** Whether a row has what it must have; undefined for rows that only inform or could not be measured. */
export function isMet(row: Row): boolean | undefined {
  if (!('ours' in row)) return undefined;
  const { ratio, absolute } = row.limit;
  if (ratio === undefined && absolute === undefined) return undefined;
  const withinRatio = ratio === undefined || (ratioOf(row) ?? Number.NaN) <= rounding(ratio);
  const withinAbsolute = absolute === undefined || median(row.ours) <= absolute;
  return withinRatio && withinAbsolute;
}

/** A limit of 1.0 × asks for "as fast": two decimals are what the measurement carries. */
const rounding = (limit: number): number => limit + 0.005;

export function ratioOf({ ours, peer }: Comparison): number | undefined {
  return peer && median(ours) / median(peer.samples);
}

export function table(rows: readonly Row[]): string {
  const head = ['what', 'ours', 'peer', 'ratio', 'to reach', 'ok?'];
  const cells = rows.map((row) => {
    if (!('ours' in row)) return [row.what, 'not measured', '', '', '', '-'];
    const { what, unit, ours, peer, limit } = row;
    const met = isMet(row);
    const wanted = [
      ...(limit.ratio === undefined ? [] : [`≤ ${limit.ratio} ×`]),
      ...(limit.absolute === undefined ? [] : [`≤ ${limit.absolute} ${unit}`]),
    ];
    return [
      what,
      `${number(median(ours))} ${unit}`,
      peer ? `${number(median(peer.samples))} ${unit}` : '–',
      ratioOf(row)?.toFixed(2) ?? '–',
      wanted.join(', ') || '–',
      met === undefined ? '-' : met ? 'yes' : 'NO',
    ];
  });
  const all = [head, ...cells];
  const widths = head.map((_, column) => Math.max(...all.map((line) => line[column]!.length)));
  const line = (texts: readonly string[]): string =>
    `| ${texts.map((text, column) => text.padEnd(widths[column]!)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(head), rule, ...cells.map(line)].join('\n');
}

/** All samples and remarks, a few lines for each row. */
export function details(rows: readonly Row[]): string {
  const list = (samples: readonly number[]): string => samples.map(number).join(' ');
  return rows
    .flatMap((row) => {
      if (!('ours' in row)) return [`${row.name}: not measured: ${row.why}`];
      const { name, unit, ours, peer, cpu, notes } = row;
      return [
        `${name}, ours (${unit}): ${list(ours)}`,
        ...(peer ? [`${name}, ${peer.what} (${unit}): ${list(peer.samples)}`] : []),
        ...(cpu ? [`${name}, CPU time (${unit}): ours ${number(cpu.ours)}, peer ${number(cpu.peer)}`] : []),
        ...notes.map((note) => `${name}: ${note}`),
      ];
    })
    .join('\n');
}

/** Three digits, more only where they stand before the point. */
const number = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
