/** vCPU threads on the host CPUs that a configuration names. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/index.js';
import { realGuest, SPIN } from '../support/bare.js';

/** What the system says of this process's vCPU threads, oldest first. */
const allowed = (): string[] =>
  readdirSync('/proc/self/task')
    .map((thread) => readFileSync(`/proc/self/task/${thread}/status`, 'latin1'))
    .filter((status) => /^Name:\tvcpu$/m.test(status))
    .map((status) => /^Cpus_allowed_list:\t(.*)$/m.exec(status)![1]!);

const everything = /^Cpus_allowed_list:\t(.*)$/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]!;
const last = Number(/\d+$/.exec(everything)![0]);

describe('a vCPU', () => {
  it('runs where its configuration says, and the others anywhere', async () => {
    await using vm = await realGuest(SPIN, { cpus: 3, affinity: [last, [0, last]], irqchip: true });
    await vm.start();
    // A thread names itself when it runs.
    for (let tries = 0; tries < 500 && allowed().length < 3; tries += 1) await sleep(10);
    const both = last === 1 ? '0-1' : last === 0 ? '0' : `0,${last}`;
    expect(allowed().sort()).toEqual([String(last), both, everything].sort());
  });

  it('is refused a CPU that is not there', async () => {
    const refused = await realGuest(SPIN, { cpus: 2, affinity: [0, [0, 7777]] }).catch((error) => error);
    expect(refused).toBeInstanceOf(ConfigError);
    const message = expect.stringMatching(/^this host has no CPU 7777, only 0/);
    expect((refused as ConfigError).issues).toEqual([{ path: 'affinity.1', message }]);
  });
});
