/** A VM with a name that is none: the agent on this host, behind a control socket, for the commands that other processes run. */
import { vi } from 'vitest';
import {
  type ControlledMachine,
  type ControlServer,
  type MachineEnd,
  serveControl,
} from '../../src/index.js';
import { BUILT, HostAgent } from './host-agent.js';
import { type Scratch, scratch } from './scratch.js';

export class NamedAgent implements AsyncDisposable {
  readonly host = new HostAgent(BUILT);
  readonly #place: Scratch = scratch();
  #server: ControlServer | undefined;

  /** Serves it; commands find it as long as nobody changes XDG_RUNTIME_DIR, which `env` has. */
  async serve(name: string): Promise<void> {
    vi.stubEnv('XDG_RUNTIME_DIR', this.#place.folder);
    await this.host.agent.ready();
    const end: MachineEnd = { reason: 'killed', code: 0, message: 'killed' };
    const machine: ControlledMachine = {
      state: 'running',
      vsock: { connect: () => this.host.dial() },
      exited: new Promise(() => {}),
      stop: async () => end,
      kill: async () => end,
    };
    this.#server = await serveControl(machine, { name, agent: true, runs: 'a test' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    vi.unstubAllEnvs();
    this.host[Symbol.dispose]();
    this.#place[Symbol.dispose]();
  }
}
