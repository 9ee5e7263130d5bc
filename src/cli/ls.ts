/** `node vmm.js ls`: the VMs of this user that run under a name. */
import { listMachines, type MachineInfo } from '../index.js';
import { EXIT } from './exit-codes.js';
import { printable, runSubcommand } from './subcommand.js';
import { LS } from './subcommands.js';
import { UsageError } from './usage-error.js';

const AGENT = { given: 'yes', possible: 'perhaps', none: 'no' } as const;

/** @returns the exit code */
export const lsCommand = (args: readonly string[]): Promise<number> =>
  runSubcommand(LS, args, async ({ given, operands }) => {
    if (operands.length > 0)
      throw new UsageError(`unexpected argument "${operands[0]}"`, { hint: 'try ls --help' });
    const machines = await listMachines();
    const lines = given.has('quiet')
      ? machines.map(({ name }) => name)
      : given.has('json')
        ? machines.map((machine) => JSON.stringify(machine))
        : table(machines);
    process.stdout.write(lines.map((line) => `${line}\n`).join(''));
    return EXIT.OK;
  });

function table(machines: readonly (MachineInfo | { readonly name: string })[]): string[] {
  const rows = [
    ['NAME', 'PID', 'STATE', 'UP', 'AGENT', 'RUNS'],
    ...machines.map((machine) =>
      'pid' in machine
        ? [
            ...[machine.name, String(machine.pid), machine.state, upFor(Date.now() - machine.began)],
            ...[AGENT[machine.agent], machine.runs],
          ].map(printable)
        : [machine.name, '?', 'silent', '?', '?', 'its monitor does not answer'],
    ),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

/** `5s`, `12m`, `3h`, `8d`. */
export function upFor(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
