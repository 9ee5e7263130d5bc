/** The matrix as the README has it. */
import { type Cell, CPUS } from './cell.js';

/** What was tried on one host. */
export interface HostCells {
  readonly host: string;
  readonly cells: readonly Cell[];
  /** Why nothing was. */
  readonly problem?: string | undefined;
}

const word = (cell: Cell | undefined, problem = 'was not tried'): string => {
  const why = cell ? cell.problem : problem;
  if (why === undefined) return 'yes';
  // The reason; what follows a colon are its details.
  const [reason = ''] = why.replaceAll('\n', ' ').split(': ');
  return `no: ${reason.replaceAll('|', '\\|')}`;
};

/** @param guests in the order of the rows */
export function matrixTable(hosts: readonly HostCells[], guests: readonly string[]): string {
  const rows = hosts.flatMap(({ host, cells, problem }) =>
    guests.map((guest) => [
      host,
      guest,
      ...CPUS.map((cpus) => {
        const cell = cells.find((one) => one.guest === guest && one.cpus === cpus);
        return word(cell, problem);
      }),
    ]),
  );
  const head = ['host', 'guest', ...CPUS.map((cpus) => `${cpus} vCPU${cpus === 1 ? '' : 's'}`)];
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, column) => text.padEnd(widths[column]!)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
