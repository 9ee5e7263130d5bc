/** cells.ts GUESTS: tries every cell for GUESTS (JSON) on the KVM of the machine it runs on, and prints each as a line of JSON. */
import { CPUS, type MatrixGuest, tryCell } from '../cell.js';

const guests = JSON.parse(process.argv[2] ?? '[]') as MatrixGuest[];
for (const guest of guests) {
  for (const cpus of CPUS) process.stdout.write(`${JSON.stringify(await tryCell(guest, cpus))}\n`);
}
process.exit(0);
