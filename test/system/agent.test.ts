/** What the agent of a real guest gives beside programs and files: ports, folders, the time. What it can do at all, conformance tells. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { GUEST_LIMIT, INIT_ENDS_BY, startWithAgent } from '../support/guest-test.js';
import { scratch } from '../support/scratch.js';

it(
  'folders go in and out, and a web server of the guest is waited for and reached, without a network',
  async () => {
    using place = scratch();
    const bytes = randomBytes(300_000);
    mkdirSync(place.path('site/sub'), { recursive: true });
    writeFileSync(place.path('site/sub/random'), bytes, { mode: 0o640 });

    await using vm = await startWithAgent();
    await vm.fs.mkdir('/srv', { recursive: true });
    expect(await vm.fs.upload(place.path('site'), '/srv')).toMatchObject({
      bytes: bytes.length,
      skipped: [],
    });
    await expect(vm.waitFor({ port: 8080 }, { timeout: 1000 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
    });
    const httpd = ['/bin/busybox', 'httpd', '-f', '-p', '127.0.0.1:8080', '-h', '/srv'];
    await using server = await vm.spawn(httpd);
    expect(await vm.waitFor({ port: 8080 }, { timeout: GUEST_LIMIT })).toBe('port 8080');

    await using forward = await vm.forward({ guestPort: 8080 });
    const at = `http://127.0.0.1:${forward.port}`;
    for (let count = 0; count < 3; count += 1) {
      const answer = await fetch(`${at}/sub/random`);
      expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
    }
    expect((await fetch(`${at}/none`)).status).toBe(404);
    server.kill('SIGTERM');
    expect(await server.exited).toMatchObject({ signal: 'SIGTERM' });
    await expect(fetch(at)).rejects.toThrow();

    expect(await vm.fs.download('/srv', place.path('back'))).toMatchObject({ bytes: bytes.length });
    expect(readFileSync(place.path('back/sub/random')).equals(bytes)).toBe(true);
    expect(statSync(place.path('back/sub/random')).mode & 0o777).toBe(0o640);
  },
  GUEST_LIMIT,
);

it(
  'a guest that was paused is told the time, and one that is to power off ends its programs first',
  async () => {
    await using vm = await startWithAgent();
    const late = async () => Date.now() / 1000 - Number((await vm.exec('date +%s')).stdout);
    await vm.exec('date -s @1000000000 > /dev/null', { check: true });
    expect(await late()).toBeGreaterThan(1e8);
    await vm.pause();
    await sleep(1500);
    await vm.resume();
    await expect.poll(late, { timeout: GUEST_LIMIT }).toBeLessThan(10);

    // A machine that is asked to power off lets programs say a last word.
    const last = await vm.spawn(
      'trap "echo bye > /dev/console; exit" TERM; echo ready; while :; do sleep 0.1; done',
    );
    await new Promise((resolve) => last.stdout.once('data', resolve));
    const end = vm.stop({ timeout: 60_000 });
    await vm.waitFor('bye', { timeout: GUEST_LIMIT });
    expect(await end).toMatchObject({ reason: INIT_ENDS_BY });
  },
  GUEST_LIMIT,
);
