/**
 * What the monitor itself says: on standard error, a line each, for people or (with --json) for programs. Standard
 * output belongs to the guest.
 */
import { ConfigError, type ConfigIssue, VmmError } from '../base/errors.js';
import type { ExitInfo, VmStats } from '../index.js';
import { MACHINE_OPTIONS } from './options.js';

export interface Reporter {
  notice(message: string): void;
  error(error: unknown, code: number): void;
  /** @param stats only when they were asked for */
  exit(info: ExitInfo, code: number, stats: VmStats | undefined): void;
}

const write = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** Options whose value is the flag's bare value. */
const UNNAMED = new Set(['memory.size', 'timeouts.run']);

/** `memory.size: …` as the user of a flag knows it. */
const named = ({ path, message }: ConfigIssue, file: string | undefined): string => {
  const [key, ...parts] = path.split('.');
  const part = UNNAMED.has(path) ? '' : parts.join('.');
  const option = MACHINE_OPTIONS.find((candidate) => candidate.key === key);
  const flag = option && `--${option.flag}${part ? ` ${part}` : ''}`;
  const place = file ? path : (flag ?? path);
  return place ? `${place}: ${message}` : message;
};

/** One line: what is wrong, and what can be done about it. */
function errorLine(error: unknown, file: string | undefined): string {
  if (!(error instanceof VmmError)) {
    return `internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  const text =
    error instanceof ConfigError
      ? `${file ? `${file}: ` : ''}${error.issues.map((issue) => named(issue, file)).join('; ')}`
      : error.message;
  return error.hint ? `${text} (${error.hint})` : text;
}

/** Ends that need no word: the guest did what guests do. */
const QUIET = new Set(['poweroff', 'reboot', 'exit', 'killed']);

/** @param file the configuration file, for messages about options */
export function textReporter(options: { file?: string | undefined; verbose?: boolean }): Reporter {
  return {
    notice: (message) => write(`vmm: ${message}`),
    error: (error) => write(`vmm: ${errorLine(error, options.file)}`),
    exit(info, _code, stats) {
      if (!QUIET.has(info.reason)) {
        const rip = info.crash?.registers.find((line) => line.startsWith('RIP'))?.replace(/\s+/, ' ');
        const where = rip && info.reason !== 'panic' ? ` at ${rip}` : '';
        write(`vmm: ${info.message}${where}${info.hint ? ` (${info.hint})` : ''}`);
      }
      const { crash } = info;
      if (
        crash &&
        info.reason !== 'panic' &&
        (info.reason === 'kvm-error' || info.reason === 'error' || options.verbose)
      ) {
        for (const line of crash.registers) write(`  ${line}`);
        if (crash.instruction) write(`  code   ${Buffer.from(crash.instruction).toString('hex')}`);
        if (crash.consoleTail) {
          write('  the console ends with:');
          for (const line of crash.consoleTail.split('\n').slice(-5)) write(`  | ${line.trimEnd()}`);
        }
      }
      if (info.error?.cause instanceof Error) write(`  ${info.error.cause.stack}`);
      if (stats) for (const line of statLines(stats)) write(`vmm: ${line}`);
    },
  };
}

function statLines({ phases, exits, addresses, uptimeMs }: VmStats): string[] {
  const list = (record: Readonly<Record<string, number>>, unit = ''): string =>
    Object.entries(record)
      .sort(([, a], [, b]) => b - a)
      .slice(0, 8)
      .map(([name, value]) => `${name} ${value}${unit}`)
      .join(', ');
  const reached = Object.entries(phases).map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`);
  return [
    `phases: ${reached.join(', ')}; ended ${uptimeMs.toFixed(1)} ms`,
    `exits: ${list(exits)}`,
    `busiest: ${list(addresses) || 'none'}`,
  ];
}

/** JSON Lines: `{"event":"notice"|"error"|"exit", …}`. */
export function jsonReporter(): Reporter {
  const emit = (event: string, fields: object): void => write(JSON.stringify({ event, ...fields }));
  return {
    notice: (message) => emit('notice', { message }),
    error(error, exitCode) {
      const { code, hint } = error instanceof VmmError ? error : { code: 'ERR_INTERNAL', hint: undefined };
      const message = error instanceof Error ? error.message : String(error);
      const issues = error instanceof ConfigError ? error.issues : undefined;
      emit('error', { code, message, hint, issues, exitCode });
    },
    exit({ reason, message, hint, crash }, exitCode, stats) {
      const instruction = crash?.instruction && Buffer.from(crash.instruction).toString('hex');
      emit('exit', {
        reason,
        message,
        hint,
        exitCode,
        crash: crash && { ...crash, instruction },
        ...(stats && { stats }),
      });
    },
  };
}
