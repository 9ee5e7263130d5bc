/** The help text, made from the options themselves. */
import { optionLines } from './option-lines.js';
import { COMMAND_OPTIONS, MACHINE_OPTIONS, USER_NET_OPTIONS } from './options.js';
import { SUBCOMMANDS } from './subcommands.js';

export function helpText(width = 80): string {
  return [
    'usage: node vmm.js --kernel PATH [OPTION…]',
    '       node vmm.js --kernel PATH [OPTION…] -- COMMAND [ARGUMENT…]',
    '       node vmm.js --flat PATH [OPTION…]',
    '       node vmm.js doctor [--json]',
    '       node vmm.js inspect cpu [--cpu …] [--cpus N] [--json]',
    ...SUBCOMMANDS.map(({ name, usage }) => `       node vmm.js ${name} ${usage}`),
    '',
    'Boots an x86-64 Linux kernel in a microVM on KVM, with its serial console on standard input and output.',
    'In a terminal, Ctrl-] leaves and ends the VM. End of piped input becomes Ctrl-D.',
    'With a COMMAND the guest runs that instead, on our input and output, and we end with its exit code.',
    'SIGTERM asks the guest to power off, or the COMMAND to end, for 10 s at most; SIGINT, SIGHUP or a second signal end at once.',
    '`doctor` says what this host can run, `inspect cpu` what CPU a guest gets.',
    ...SUBCOMMANDS.map(({ name, summary }) => `\`${name}\` ${summary}; see ${name} --help.`),
    '',
    'The machine:',
    ...[...MACHINE_OPTIONS, ...USER_NET_OPTIONS].flatMap((option) => optionLines(option, width)),
    '',
    'The command:',
    ...COMMAND_OPTIONS.flatMap((option) => optionLines(option, width)),
    '',
    'exit codes: 0 the guest powered off or rebooted (a flat guest: its own code); 64 usage; 65 not a kernel;',
    '66 file not readable; 69 no usable KVM, or no such VM; 70 the monitor failed; 71 guest panic; 72 guest crashed or hung;',
    '74 output not writable; 124 timeout; 126 COMMAND cannot be run; 127 no such COMMAND; 130 interrupted;',
    '128+N ended by signal N',
    '',
  ].join('\n');
}
