/** `node vmm.js inspect cpu`: what CPU a guest gets, as text or as JSON. */
import { type CpuConfig, type CpuReport, inspectCpu } from '../index.js';
import { codeOfError, EXIT } from './exit-codes.js';
import { parseCommandLine } from './parse.js';
import { jsonReporter, textReporter } from './reporter.js';

const USAGE = `usage: node vmm.js inspect cpu [--cpu [template=FILE][,FEATURE=on|off]…] [--cpus N] [--config FILE] [--json]

Says what CPU a guest gets on this host: a guest executes CPUID for every leaf.
`;
const WIDTH = 100;

/** @returns the exit code */
export async function inspectCommand(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(USAGE);
    return EXIT.OK;
  }
  if (args[0] !== 'cpu') {
    const what = args[0] === undefined ? 'what? there is cpu' : `unknown: ${args[0]}; there is cpu`;
    process.stderr.write(`vmm: inspect: ${what} (try inspect --help)\n`);
    return EXIT.USAGE;
  }
  const json = args.includes('--json');
  try {
    const { cpu, cpus, hostCheck } = parseCommandLine(args.slice(1)).config;
    const given = Object.entries({ cpu, cpus, hostCheck }).filter(([, value]) => value !== undefined);
    const report = await inspectCpu(Object.fromEntries(given) as CpuConfig);
    process.stdout.write(json ? asJson(report) : asText(report));
    return EXIT.OK;
  } catch (error) {
    const code = codeOfError(error);
    (json ? jsonReporter() : textReporter({})).error(error, code);
    return code;
  }
}

const hex = (value: number | bigint, digits = 0): string => `0x${value.toString(16).padStart(digits, '0')}`;

/** Numbers as a template has them. */
function asJson({ host, features, cpuid, msrs }: CpuReport): string {
  const value = {
    host,
    features,
    cpuid: cpuid.map((leaf) =>
      Object.fromEntries(Object.entries(leaf).map(([key, number]) => [key, hex(number)])),
    ),
    msrs: msrs.map(({ index, name, value }) => ({ addr: hex(index), name, value: hex(value) })),
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function asText({ host, features, cpuid, msrs }: CpuReport): string {
  const lines = [`features, as in /proc/cpuinfo (${host} KVM):`];
  let line = ' ';
  for (const name of features) {
    if (line.length + name.length >= WIDTH) {
      lines.push(line);
      line = ' ';
    }
    line += ` ${name}`;
  }
  lines.push(line, '', 'leaf        subleaf  eax         ebx         ecx         edx');
  for (const { leaf, subleaf, ...registers } of cpuid) {
    const values = Object.values(registers).map((value) => hex(value, 8));
    lines.push([hex(leaf, 8), ` ${hex(subleaf, 2)}   `, ...values].join('  '));
  }
  lines.push('', 'MSR         value');
  for (const { index, name, value } of msrs) {
    lines.push(`${hex(index, 8)}  ${hex(value, 16)}${name === undefined ? '' : `  ${name}`}`);
  }
  return `${lines.join('\n')}\n`;
}
