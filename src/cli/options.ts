/**
 * The command's options: one for each option of the configuration schema, and the few that belong to the command alone.
 * Help and parsing both read this list, so neither can know an option that the other does not.
 */
import { optionHelp, schema } from '../index.js';

export interface CommandOption {
  /** Without dashes: `host-check`. */
  readonly flag: string;
  readonly short?: string | undefined;
  /** The value's name in a usage line; absent for a switch. */
  readonly value?: string | undefined;
  readonly text: string;
  /** The schema's key that it sets; absent for the command's own options. */
  readonly key?: string | undefined;
}

const kebab = (key: string): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Options that describe the machine, in the schema's order. */
export const MACHINE_OPTIONS: readonly CommandOption[] = Object.entries(schema.shape).flatMap(
  ([key, type]) => {
    const help = optionHelp.get(type);
    return help ? [{ flag: help.flag ?? kebab(key), value: help.value, text: help.text, key }] : [];
  },
);

/** Options of the user network, which go into the configuration's first card that has one: user-net-options.ts. */
export const USER_NET_OPTIONS: readonly CommandOption[] = [
  {
    flag: 'forward',
    short: 'p',
    value: '[HOST:]PORT:GUESTPORT[/udp]',
    text: "Let a port of this host (127.0.0.1 unless HOST says otherwise) lead to the guest's; with --net user, which it implies",
  },
  {
    flag: 'allow',
    value: 'RULE',
    text:
      'Whom the guest may reach through --net user, and nobody else: example.com:443, *.example.com, 10.0.0.0/8, host:8080 (this ' +
      'host), *; without any rule all public addresses',
  },
  { flag: 'deny', value: 'RULE', text: 'Whom it may not reach, whatever is allowed' },
];

/** Options of the command itself. */
export const COMMAND_OPTIONS: readonly CommandOption[] = [
  {
    flag: 'config',
    value: 'FILE',
    text: 'Read options from a JSON file, named as in the library; paths are relative to the file, and flags win over it',
  },
  {
    flag: 'no-agent',
    text: 'With --name: let the guest start its own first process; exec and cp need an agent that it brings',
  },
  { flag: 'json', text: "The monitor's own messages as JSON, one object a line, on standard error" },
  {
    flag: 'verbose',
    short: 'v',
    text: 'Tell when each phase of the boot was reached and what the guest did',
  },
  { flag: 'help', short: 'h', text: 'Show this text' },
  { flag: 'version', short: 'V', text: 'Show the version' },
];

export const OPTIONS: readonly CommandOption[] = [
  ...MACHINE_OPTIONS,
  ...USER_NET_OPTIONS,
  ...COMMAND_OPTIONS,
];
