/** A command line cut into options, words and `--`, whatever the command: what an unknown option means is the caller's to say. */
import { parseArgs } from 'node:util';

/** What has to be known of an option to cut a command line. */
interface Flag {
  readonly flag: string;
  readonly short?: string | undefined;
  /** What its value is called; without it the option is a switch. */
  readonly value?: string | undefined;
}

/** The tokens of `args`, in their order. */
export function tokensOf(args: readonly string[], flags: readonly Flag[]) {
  return parseArgs({
    args: [...args],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      flags.map(({ flag, short, value }) => [
        flag,
        { type: value ? ('string' as const) : ('boolean' as const), ...(short && { short }) },
      ]),
    ),
  }).tokens;
}
