/** `node vmm.js cp SRC DST`: files between this host and VMs that run elsewhere. */
import { connectMachine } from '../index.js';
import { type CopyPlace, copy } from './copy.js';
import { GuestPlace, LocalPlace, StandardStreams } from './copy-places.js';
import { codeOfSignal, EXIT } from './exit-codes.js';
import { Interrupts } from './signals.js';
import { printable, runSubcommand } from './subcommand.js';
import { CP } from './subcommands.js';
import { UsageError } from './usage-error.js';

/** @returns the exit code */
export const cpCommand = (args: readonly string[]): Promise<number> =>
  runSubcommand(CP, args, async ({ operands }) => {
    const see = { hint: 'try cp --help' };
    if (operands.length !== 2) throw new UsageError('from where to where? cp SRC DST', see);
    const [from, to] = operands.map(parsePlace) as [Place, Place];
    if (from.name === undefined && to.name === undefined)
      throw new UsageError('one of them must be in a VM: NAME:/path', see);
    const [source, target] = [await open(from), await open(to)];
    const say = (text: string): void => void process.stderr.write(`vmm: cp: ${text}\n`);
    using interrupts = new Interrupts();
    try {
      const left = await copy(source, from.path, target, to.path, {
        leaveOut: (what) => say(`left out: ${printable(what)}`),
        leaveHalf: (path) => say(`not complete: ${printable(path)}`),
        signal: interrupts.signal,
      });
      return left === 0 ? EXIT.OK : EXIT.NO_INPUT;
    } catch (error) {
      if (!interrupts.received) throw error;
      return codeOfSignal(interrupts.received);
    }
  });

interface Place {
  /** Of a VM; undefined for this host. */
  readonly name: string | undefined;
  readonly path: string;
}

/** `NAME:/path`, or a path of this host; `./a:b` for one with a colon. @throws UsageError for a relative path in a VM */
export function parsePlace(text: string): Place {
  const [, name, path] = /^([^/:]+):(.*)$/s.exec(text) ?? [];
  if (name === undefined) {
    if (text === '') throw new UsageError('a path is empty');
    return { name: undefined, path: text };
  }
  if (!path!.startsWith('/')) {
    const hint = `a file of this host whose name has a colon is ./${text}`;
    throw new UsageError(`${text}: paths in a VM start with /`, { hint });
  }
  return { name, path: path! };
}

async function open({ name, path }: Place): Promise<CopyPlace> {
  if (name !== undefined) return new GuestPlace((await connectMachine(name)).fs);
  return path === '-' ? new StandardStreams() : new LocalPlace();
}
