/** A VM that was started with `--name`: found by `ls`, `exec`, `cp` and `stop` while it runs. */
import { type ControlServer, serveControl, type VirtualMachine } from '../index.js';
import type { CommandLine } from './parse.js';

/** @throws ConfigError when the name will not do or is taken; VmmError ERR_FILE */
export function publishName(
  vm: VirtualMachine,
  { config, command }: CommandLine,
  agent: boolean,
): Promise<ControlServer> {
  const runs = command ? `-- ${command.join(' ')}` : String(config['kernel']);
  return serveControl(vm, { name: vm.name, agent, runs: runs.slice(0, 200) });
}
