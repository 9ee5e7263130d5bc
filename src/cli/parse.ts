/**
 * The command line and the configuration file become one configuration object, as an embedder would write it. What the
 * values must be is the schema's business; here is only how they are spelled as flags.
 */
import { nearest } from '../base/nearest.js';
import { readConfigFile } from './config-file.js';
import { type CommandOption, OPTIONS } from './options.js';
import { tokensOf } from './tokens.js';
import { UsageError } from './usage-error.js';
import { isUserNetOption, withUserNet } from './user-net-options.js';

export interface CommandLine {
  readonly help: boolean;
  readonly json: boolean;
  readonly verbose: boolean;
  /** Other processes are to find the VM by its name. */
  readonly named: boolean;
  /** They are to run programs in it as well, so it gets an agent that nobody asked for. */
  readonly agentForName: boolean;
  /** Not yet checked. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The configuration file, if one was named, for messages. */
  readonly file: string | undefined;
  /** What to run in the guest, and its arguments: everything behind `--`. */
  readonly command: readonly string[] | undefined;
}

type Settings = Record<string, unknown>;

/** `a,b=c,d` → ['a', { b: 'c', d: true }]. Commas separate; a value has none. */
function splitValue(text: string): [string, Record<string, string | true>] {
  const [first = '', ...rest] = text.split(',');
  const settings = rest.map((part): [string, string | true] => {
    const at = part.indexOf('=');
    return at < 0 ? [part, true] : [part.slice(0, at), part.slice(at + 1)];
  });
  return [first, Object.fromEntries(settings)];
}

/** Numbers as people write them, hexadecimal too; anything else stays text for the schema to complain about. */
const number = (text: string | true): number | string | true => {
  const value = text === true || text.trim() === '' ? Number.NaN : Number(text);
  return Number.isNaN(value) ? text : value;
};

/** As QEMU spells it; anything else stays for the schema to complain about. */
const onOrOff = (text: string | true): string | boolean =>
  text === true || text === 'on' ? true : text === 'off' ? false : text;

/** `3`, `0-3`, `0+2`; what is none stays for the schema to complain about. */
function cpuSet(text: string): unknown {
  const ranges = text.split('+').map((part) => {
    const [, first, last] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    if (first === undefined) return [part];
    const length = Math.max(Number(last ?? first) - Number(first) + 1, 0);
    return Array.from({ length }, (_, index) => Number(first) + index);
  });
  return ranges.flat();
}

const append = (into: Settings, key: string, value: unknown): void => {
  into[key] = [...((into[key] as unknown[] | undefined) ?? []), value];
};

/** How a flag's text sets its options, where that is more than "the text is the value". */
const SETTERS: Readonly<Record<string, (into: Settings, text: string) => void>> = {
  memory(into, text) {
    const [size, more] = splitValue(text);
    into['memory'] = { size, ...more };
  },
  cpus(into, text) {
    into['cpus'] = number(text);
  },
  affinity(into, text) {
    into['affinity'] = text.split(',').map(cpuSet);
  },
  cpu(into, text) {
    const [, { template, ...features }] = splitValue(`,${text}`);
    const set = Object.entries(features).map(([name, value]) => [name, onOrOff(value)]);
    into['cpu'] = {
      ...(template !== undefined && { template }),
      ...(set.length > 0 && { set: Object.fromEntries(set) }),
    };
  },
  flat(into, text) {
    const [path, { load, entry, ...more }] = splitValue(text);
    into['kernel'] = path;
    into['flat'] = {
      ...more,
      ...(load !== undefined && { load: number(load) }),
      ...(entry !== undefined && { entry: number(entry) }),
    };
  },
  disk(into, text) {
    const [source, { queues, ro, ...more }] = splitValue(text);
    const disk = {
      source,
      ...more,
      ...(ro !== undefined && { readOnly: ro }),
      ...(queues !== undefined && { queues: number(queues) }),
    };
    append(into, 'disks', disk);
  },
  net(into, text) {
    const [network, { mtu, listen, queues, fd, ...more }] = splitValue(text);
    const at = network.indexOf(':');
    const kind = at < 0 ? network : network.slice(0, at);
    const place = at < 0 ? undefined : network.slice(at + 1);
    const settings = {
      ...(listen !== undefined && { listen }),
      ...(queues !== undefined && { queues: number(queues) }),
      ...(fd !== undefined && { fd: number(fd) }),
    };
    const named = kind === 'tap' ? 'name' : 'path';
    const bare = network === 'user' && Object.keys(settings).length === 0;
    const card = {
      [kind]: bare || {
        ...(place !== undefined && { [named]: place }),
        ...settings,
      },
      ...more,
      ...(mtu !== undefined && { mtu: number(mtu) }),
    };
    append(into, 'net', card);
  },
  vsock(into, text) {
    const [cid, more] = splitValue(text);
    into['vsock'] = { cid: number(cid), ...more };
  },
  device(into, text) {
    append(into, 'devices', text);
  },
  timeout(into, text) {
    const seconds = number(text);
    into['timeouts'] = { run: typeof seconds === 'number' ? seconds * 1000 : seconds };
  },
};

/** @throws UsageError for unknown options, missing values, and a configuration file that is none */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const tokens = tokensOf(args, OPTIONS);
  const switches = new Set<string>();
  const settings: Settings = {};
  const userNet: Settings = {};
  let file: string | undefined;
  let command: readonly string[] | undefined;
  for (const token of tokens) {
    if (token.kind === 'option-terminator') {
      command = args.slice(token.index + 1);
      break;
    }
    if (token.kind === 'positional') {
      throw new UsageError(`unexpected argument "${token.value}": options start with --`);
    }
    const option = OPTIONS.find(({ flag }) => flag === token.name);
    if (!option) throw unknown(token.rawName);
    if (!option.value) {
      if (token.value !== undefined) throw new UsageError(`--${option.flag} takes no value`);
      if (option.key) settings[option.key] = true;
      else switches.add(option.flag);
    } else if (option.flag === 'config') {
      file = requireValue(option, token.value);
    } else if (isUserNetOption(option.flag)) {
      append(userNet, option.flag, requireValue(option, token.value));
    } else {
      const text = requireValue(option, token.value);
      const set = SETTERS[option.flag];
      if (set) set(settings, text);
      else settings[option.key ?? option.flag] = text;
    }
  }
  if (tokens.some((token) => token.kind === 'option' && token.name === 'kernel') && settings['flat']) {
    throw new UsageError('--kernel and --flat: one of them');
  }
  if (command?.length === 0) throw new UsageError('-- needs a command behind it');
  const config = withUserNet({ ...(file !== undefined && readConfigFile(file)), ...settings }, userNet);
  // A configuration file's name is for messages, as in the library.
  const named = settings['name'] !== undefined;
  if (switches.has('no-agent')) {
    if (config['agent'] === true || command)
      throw new UsageError(`${command ? '-- COMMAND' : '--agent'} and --no-agent: one of them`);
    config['agent'] = false;
  }
  // Whoever names a VM wants to run programs in it. A flat guest has none.
  const agentForName = named && !command && config['agent'] === undefined && config['flat'] === undefined;
  return {
    command,
    named,
    help: switches.has('help'),
    json: switches.has('json'),
    verbose: switches.has('verbose'),
    agentForName,
    config: agentForName ? { ...config, agent: true } : config,
    file,
  };
}

function requireValue(option: CommandOption, value: string | undefined): string {
  // An option's value that looks like an option is nearly always a forgotten value.
  if (value === undefined || value === '' || OPTIONS.some(({ flag }) => value === `--${flag}`)) {
    throw new UsageError(`--${option.flag} needs a value: --${option.flag} ${option.value}`);
  }
  return value;
}

function unknown(name: string): UsageError {
  const guess = nearest(
    name.replace(/^-+/, ''),
    OPTIONS.map(({ flag }) => flag),
  );
  return new UsageError(
    `unknown option ${name}`,
    guess ? { hint: `did you mean --${guess}? try --help` } : {},
  );
}
