/** What `ls`, `exec`, `cp` and `stop` have in common: a list of options that help and parsing both read, and one line for an error. */
import { ConfigError, VmmError } from '../base/errors.js';
import { nearest } from '../base/nearest.js';
import { codeOfError, EXIT } from './exit-codes.js';
import { optionLines } from './option-lines.js';
import { tokensOf } from './tokens.js';
import { UsageError } from './usage-error.js';

export interface SubcommandOption {
  readonly flag: string;
  readonly short?: string;
  /** The value's name; absent for a switch. */
  readonly value?: string;
  readonly text: string;
}

export interface Subcommand {
  readonly name: string;
  /** Behind `node vmm.js NAME`. */
  readonly usage: string;
  /** One sentence, for the help of the whole command. */
  readonly summary: string;
  /** What it does, a line each. */
  readonly text: readonly string[];
  readonly options: readonly SubcommandOption[];
  readonly examples: readonly string[];
  /** Options end at the first operand: what follows belongs to a program in the guest. */
  readonly program?: boolean;
}

/** Texts by flag; a switch has one empty text for each time it was given. */
export type Given = ReadonlyMap<string, readonly string[]>;

export interface Parsed {
  readonly given: Given;
  readonly operands: readonly string[];
}

const HELP: SubcommandOption = { flag: 'help', short: 'h', text: 'Show this text' };

/** @throws UsageError */
export function parseSubcommand(command: Subcommand, args: readonly string[]): Parsed {
  const known = [...command.options, HELP];
  const tokens = tokensOf(args, known);
  const given = new Map<string, string[]>();
  const operands: string[] = [];
  const see = { hint: `try ${command.name} --help` };
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') {
      if (command.program) {
        operands.push(...args.slice(token.index));
        break;
      }
      operands.push(token.value);
      continue;
    }
    const option = known.find(({ flag }) => flag === token.name);
    if (!option) {
      const guess = nearest(
        token.name,
        known.map(({ flag }) => flag),
      );
      throw new UsageError(
        `unknown option ${token.rawName}`,
        guess ? { hint: `did you mean --${guess}? ${see.hint}` } : see,
      );
    }
    if (!option.value && token.value !== undefined)
      throw new UsageError(`--${option.flag} takes no value`, see);
    if (option.value && (token.value === undefined || token.value === ''))
      throw new UsageError(`--${option.flag} needs a value: --${option.flag} ${option.value}`, see);
    given.set(option.flag, [...(given.get(option.flag) ?? []), token.value ?? '']);
  }
  return { given, operands };
}

export const subcommandHelp = (command: Subcommand, width = 80): string =>
  [
    `usage: node vmm.js ${command.name} ${command.usage}`,
    '',
    ...command.text,
    '',
    'Options:',
    ...[...command.options, HELP].flatMap((option) => optionLines(option, width)),
    '',
    'Examples:',
    ...command.examples.map((example) => `  node vmm.js ${example}`),
    '',
  ].join('\n');

/** A number of seconds of an option. @returns ms @throws UsageError */
export function milliseconds(given: Given, flag: string, standard: number): number {
  const text = given.get(flag)?.at(-1);
  if (text === undefined) return standard;
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= 0 && seconds <= 86_400) return Math.round(seconds * 1000);
  throw new UsageError(`--${flag}: "${text}" is no number of seconds from 0 to 86400`);
}

/** Parses, shows the help if that was asked for, acts. @returns the exit code */
export async function runSubcommand(
  command: Subcommand,
  args: readonly string[],
  act: (parsed: Parsed) => Promise<number>,
): Promise<number> {
  try {
    const parsed = parseSubcommand(command, args);
    if (parsed.given.has('help')) {
      process.stdout.write(subcommandHelp(command, process.stdout.columns));
      return EXIT.OK;
    }
    return await act(parsed);
  } catch (error) {
    process.stderr.write(`vmm: ${command.name}: ${errorText(error)}\n`);
    return codeOfError(error);
  }
}

function errorText(error: unknown): string {
  if (!(error instanceof VmmError))
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  const text =
    error instanceof ConfigError ? error.issues.map(({ message }) => message).join('; ') : error.message;
  return error.hint ? `${text} (${error.hint})` : text;
}

/** Text from elsewhere, fit for a terminal: on one line, and without what a terminal would obey. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are the ones
export const printable = (text: string): string => text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
