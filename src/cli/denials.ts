/**
 * What the user network's policy refused, told once for each destination: a guest that is refused everything must not fill the
 * terminal, nor its names play with it.
 */
import type { NetDecision, VirtualMachine } from '../index.js';
import type { Reporter } from './reporter.js';

/** Destinations that are told; of the rest, only that there are more. */
const MOST = 32;
/** Characters of a name that a guest made up. */
const LONGEST = 100;

/** Reports what the policies of `vm`'s cards refuse from now on. */
export function reportDenials(vm: Pick<VirtualMachine, 'nets'>, reporter: Pick<Reporter, 'notice'>): void {
  const told = new Set<string>();
  for (const [id, { user }] of vm.nets) {
    user?.on('decision', (decision) => {
      if (decision.verdict !== 'deny' || told.size > MOST) return;
      const where = `${id}: refused ${destination(decision)}`;
      if (told.has(where)) return;
      told.add(where);
      if (told.size > MOST) reporter.notice('the guest is refused more than is told here');
      else reporter.notice(`${where}: ${printable(decision.reason)}`);
    });
  }
}

function destination({ proto, host, address, port }: NetDecision): string {
  if (address === undefined || port === undefined) return `${proto} ${printable(host)}`;
  const place = `${address.includes(':') ? `[${address}]` : address}:${port}`;
  return host === address ? `${proto} ${place}` : `${proto} ${printable(host)} at ${place}`;
}

const printable = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?').slice(0, LONGEST);
