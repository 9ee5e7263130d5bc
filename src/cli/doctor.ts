/** `node vmm.js doctor`: the findings as a list, or as JSON. */
import { type DoctorReport, doctor } from '../index.js';
import { EXIT } from './exit-codes.js';

/** @returns the exit code: 0 when this host can run guests, 69 when it cannot */
export async function doctorCommand(args: readonly string[]): Promise<number> {
  const wrong = args.find((arg) => arg !== '--json');
  if (wrong === '--help' || wrong === '-h') {
    process.stdout.write('usage: node vmm.js doctor [--json]\n\nSays what this host can run, and why not.\n');
    return EXIT.OK;
  }
  if (wrong !== undefined) {
    process.stderr.write(`vmm: doctor: unknown argument ${wrong} (try doctor --help)\n`);
    return EXIT.USAGE;
  }
  const report = await doctor();
  process.stdout.write(args.includes('--json') ? `${JSON.stringify(report, undefined, 2)}\n` : text(report));
  return report.ok ? EXIT.OK : EXIT.UNAVAILABLE;
}

function text({ checks, boots }: DoctorReport): string {
  const lines = checks.flatMap(({ name, ok, detail, fix }) => [
    `${ok ? 'yes' : 'no '}  ${name}: ${detail}`,
    ...(fix === undefined ? [] : [`     → ${fix}`]),
  ]);
  const verdict = boots.stock
    ? 'This host runs any x86-64 kernel.'
    : boots.lean
      ? 'This host runs the lean kernel of guest-kernels/, and flat guests; distribution kernels need VT-x or AMD-V.'
      : 'This host cannot run guests.';
  return `${[...lines, '', verdict].join('\n')}\n`;
}
