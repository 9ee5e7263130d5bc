/** The commands for VMs that run elsewhere, under a name: how each is used. What each does is in the file of its name. */
import type { Subcommand } from './subcommand.js';

export const LS: Subcommand = {
  name: 'ls',
  usage: '[OPTION…]',
  summary: 'lists the VMs that run under a name',
  text: [
    'Lists the VMs that this user has started with --name and that run: their process, state, time since their start,',
    'whether programs can be run in them, and what they are.',
  ],
  options: [
    { flag: 'quiet', short: 'q', text: 'Names only' },
    { flag: 'json', text: 'JSON, one object a line' },
  ],
  examples: ['ls', 'ls --json'],
};

export const STOP: Subcommand = {
  name: 'stop',
  usage: '[OPTION…] NAME…',
  summary: 'ends VMs that run under a name',
  text: [
    'Asks the guest to shut down, and kills the VM if it has not within the timeout. Ends when the VM has ended: its',
    'disks are free, and so is its name.',
  ],
  options: [
    { flag: 'timeout', short: 't', value: 'SECONDS', text: 'How long the guest may take (default 10)' },
    { flag: 'force', short: 'f', text: 'Kill it at once: what it has not written to its disks is lost' },
  ],
  examples: ['stop web', 'stop --timeout 60 web db'],
};

export const EXEC: Subcommand = {
  name: 'exec',
  usage: '[OPTION…] NAME -- COMMAND [ARGUMENT…]',
  summary: 'runs a program in one of them',
  text: [
    'Runs a program in a VM that was started with --name, on our input and outputs, in a terminal of its own when we are',
    'in one. Signals go to the program, and its exit code is ours; it ends with us.',
  ],
  options: [
    {
      flag: 'env',
      short: 'e',
      value: 'KEY[=VALUE]',
      text: "A variable of the program's environment, by default with our value; may be given several times",
    },
    { flag: 'cwd', short: 'w', value: 'FOLDER', text: 'The folder it starts in (default /)' },
    {
      flag: 'user',
      short: 'u',
      value: 'USER',
      text: 'As whom: a name, UID or UID:GID of the guest (default root)',
    },
    { flag: 'no-tty', short: 'T', text: 'Without a terminal, even if we are in one' },
  ],
  examples: [
    'exec web -- /bin/sh',
    'exec -e DEBUG=1 -w /srv web -- node server.js',
    'exec web -- tar c /etc > etc.tar',
  ],
  program: true,
};

export const CP: Subcommand = {
  name: 'cp',
  usage: 'SRC DST',
  summary: 'copies files into and out of them',
  text: [
    'Copies a file, or a folder with all that is in it. SRC and DST are paths of this host, NAME:/path in a VM that was',
    'started with --name, or - for standard input or output. A DST that is a folder gets the copy under its own name.',
    'Links are followed; what is neither file nor folder, or has a name that is no UTF-8, is left out, told, and makes the',
    'exit code 66. A file whose copy fails or is interrupted is taken away again, or told.',
  ],
  options: [],
  examples: ['cp config.json web:/etc/app/', 'cp web:/var/log logs', 'cp web:/etc/os-release -'],
};

export const SUBCOMMANDS: readonly Subcommand[] = [LS, EXEC, CP, STOP];
