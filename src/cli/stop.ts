/** `node vmm.js stop NAME`: the end of a VM that runs elsewhere. */
import { connectMachine } from '../index.js';
import { EXIT } from './exit-codes.js';
import { GRACE_MS } from './signals.js';
import { milliseconds, printable, runSubcommand } from './subcommand.js';
import { STOP } from './subcommands.js';
import { UsageError } from './usage-error.js';

/** @returns the exit code */
export const stopCommand = (args: readonly string[]): Promise<number> =>
  runSubcommand(STOP, args, async ({ given, operands }) => {
    if (operands.length === 0)
      throw new UsageError('which VM? stop NAME', { hint: 'ls shows those that run' });
    const options = { timeout: milliseconds(given, 'timeout', GRACE_MS), force: given.has('force') };
    const machines = await Promise.all(operands.map(connectMachine));
    await Promise.all(
      machines.map(async (machine) => {
        const { reason, message } = await machine.stop(options);
        // Whoever asked for a clean end wants to know that it was none.
        if (reason === 'killed' && !options.force)
          process.stderr.write(`vmm: stop: ${machine.info.name}: ${printable(message)}\n`);
      }),
    );
    return EXIT.OK;
  });
