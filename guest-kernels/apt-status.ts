/**
 * apt's progress protocol, as it comes through `APT::Status-Fd`
 * (apt's doc/progress-reporting.md): `dlstatus:item:percent:text` while downloading, `pmstatus:package:percent:text`
 * while installing.
 */

/** `dlstatus:1:43.2:Retrieving…` → 0.432; undefined for a line that tells no progress. */
export function statusFraction(line: string): number | undefined {
  const [kind, , percent] = line.split(':');
  if (kind !== 'dlstatus' && kind !== 'pmstatus') return undefined;
  const value = Number.parseFloat(percent ?? '');
  return Number.isFinite(value) ? value / 100 : undefined;
}
