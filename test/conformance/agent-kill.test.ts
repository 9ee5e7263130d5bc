/**
 * What is killed with a program: all that it started, wherever that has gone to. Control groups know, where the kernel has them and they can
 * be written; elsewhere the agent looks for sessions and descendants, and daemons get away. The agent runs on this host.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUILT, GROUPS, gone, HostAgent, isAlive } from '../support/host-agent.js';

const NO_GROUPS = [join(import.meta.dirname, '../support/no-groups.c'), '-Wl,--wrap=mkdirat'];

/** Starts what stays when its parents are gone: writes its number to the file, then for ever nothing. */
const daemon = (file: string): string =>
  `(setsid sh -c 'echo $$ > ${file}.new; mv ${file}.new ${file}; exec sleep 1000' > /dev/null 2>&1 < /dev/null &)`;

async function numberIn(file: string): Promise<number> {
  while (!existsSync(file)) await sleep(5);
  return Number(readFileSync(file, 'latin1'));
}

describe.each([
  ['with control groups', GROUPS !== undefined, BUILT],
  ['without', true, NO_GROUPS],
] as const)('a program that is killed, %s,', (how, able, program) => {
  let host: HostAgent;
  beforeAll(async () => {
    host = new HostAgent(program);
    await host.agent.ready();
  });
  afterAll(() => host[Symbol.dispose]());
  const grouped = how !== 'without';
  const inUse = (): string[] =>
    host
      .groups()
      .filter((path) => /^populated 1$/m.test(readFileSync(join(path, 'cgroup.events'), 'latin1')));

  it.skipIf(!able)('ends with its sessions and descendants', async () => {
    const script = 'setsid sh -c "echo \\$\\$; setsid sleep 1000" & wait';
    const late = await host.agent.exec(script, { timeout: 500 }).catch((error: unknown) => error);
    expect(late).toMatchObject({ code: 'ERR_TIMEOUT' });
    expect(await gone(Number((late as { result: { stdout: string } }).result.stdout))).toBe(true);
  });

  it.skipIf(!able)(grouped ? 'ends with its daemons' : 'leaves its daemons', async () => {
    for (const by of ['abort', 'lost'] as const) {
      const file = join(host.folder, by);
      const abort = new AbortController();
      const started = await host.agent.spawn(`${daemon(file)}; sleep 1000`, { signal: abort.signal });
      const pid = await numberIn(file);
      expect(readFileSync(`/proc/${pid}/cgroup`, 'latin1').includes('typevisor-')).toBe(grouped);
      if (by === 'abort') {
        abort.abort();
        expect(await started.exited).toMatchObject({ signal: 'SIGKILL' });
      } else await started[Symbol.asyncDispose]();
      if (grouped) expect(await gone(pid)).toBe(true);
      else {
        expect(isAlive(pid)).toBe(true);
        process.kill(pid, 'SIGKILL');
      }
    }
  });

  it.skipIf(!able)(
    'alone is so: daemons outlive a program that ends by itself, and no group is left',
    async () => {
      const file = join(host.folder, 'stays');
      expect(await host.agent.exec(daemon(file), {})).toMatchObject({ ok: true });
      const pid = await numberIn(file);
      await sleep(50);
      expect(isAlive(pid)).toBe(true);
      expect(host.groups().length).toBe(grouped ? 1 : 0);
      process.kill(pid, 'SIGKILL');
      for (let tries = 0; tries < 250 && host.groups().length > 0; tries += 1) await sleep(20);
      expect(host.groups()).toEqual([]);
    },
  );

  it.skipIf(!able)('may not be there at all, which leaves nothing either', async () => {
    for (const argv of [['/no/such/program'], ['/etc/passwd']])
      await expect(host.agent.exec(argv, {})).rejects.toMatchObject({ code: 'ERR_GUEST_CALL' });
    expect(inUse()).toEqual([]);
  });

  it.skipIf(!able)('leaves few empty groups, however many there were at once', async () => {
    await Promise.all(Array.from({ length: 40 }, () => host.agent.exec('sleep 0.1', {})));
    expect(inUse()).toEqual([]);
    expect(host.groups().length).toBeLessThanOrEqual(8);
  });
});
