/** What file I/O does to the process around it, in processes of their own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { abilities, scratch } from '../support/scratch.js';

const ROOT = join(import.meta.dirname, '../..');
const folder = scratch();
const path = folder.path('file');
const barred = folder.path('barred');

/** Runs a module body that has `file`, an AsyncFile on 64 MiB, under an optional launcher. */
function run(body: string, { launcher = [] as string[], options = {} } = {}) {
  const script = folder.path(`script-${Math.floor(performance.now() * 1000)}.mts`);
  writeFileSync(
    script,
    `import { AsyncFile } from ${JSON.stringify(join(ROOT, 'src/host/async-file.ts'))};
const file = await AsyncFile.open(${JSON.stringify(path)}, ${JSON.stringify(options)});
${body}`,
  );
  const tsx = join(ROOT, 'node_modules/tsx/dist/loader.mjs');
  const [command, ...args] = [...launcher, process.execPath, '--import', tsx, script];
  const { status, signal, stdout, stderr } = spawnSync(command!, args, { encoding: 'utf8', timeout: 60_000 });
  return { status, signal, stdout: stdout.trim(), stderr: stderr.trim() };
}

const MANY = `const reads = Array.from({ length: 300 }, (_, n) => file.read(n * 65536, new Uint8Array(65536)));`;

describe('file I/O and its process', () => {
  beforeAll(() => {
    writeFileSync(path, Buffer.alloc(2 ** 26, 1));
    // A seccomp filter that answers io_uring_setup with EPERM, as container runtimes have.
    const source = folder.path('barred.c');
    writeFileSync(
      source,
      `#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 99;
  execv(argv[1], argv + 1);
  return argc + 100;
}`,
    );
    execFileSync('cc', ['-Wall', '-o', barred, source]);
  });
  afterAll(() => folder[Symbol.dispose]());

  it('keeps the process alive while something is in flight, and no longer', () => {
    const { status, stdout } = run(`${MANY}
Promise.all(reads).then(() => console.log('all read'));
process.on('exit', () => console.log('idle'));`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'all read\nidle' });
  });

  it('ends in peace though nobody closed a file, and a descriptor becomes readable at the very end', () => {
    const { status, signal, stderr } = run(`
const { eventfd, signalEventfd } = await import(${JSON.stringify(join(ROOT, 'src/host/libc.ts'))});
const { pollReadable } = await import(${JSON.stringify(join(ROOT, 'src/host/poll.ts'))});
const fd = eventfd();
const poll = pollReadable(fd, () => {});
poll.unref();
process.on('exit', () => {
  signalEventfd(fd);
  poll.ref(); // as a read would that somebody starts now
});`);
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  });

  it('reports what a callback of a watched descriptor throws', () => {
    const { status, signal, stderr } = run(`
const { eventfd, signalEventfd } = await import(${JSON.stringify(join(ROOT, 'src/host/libc.ts'))});
const { pollEventfd } = await import(${JSON.stringify(join(ROOT, 'src/host/poll.ts'))});
const fd = eventfd();
pollEventfd(fd, () => { throw new Error('on purpose'); });
signalEventfd(fd);`);
    expect({ status, signal }).toEqual({ status: 1, signal: null });
    expect(stderr).toContain('on purpose');
  });

  it('survives the end of a worker that watches a descriptor', () => {
    const path = folder.path('worker.cjs');
    // Nobody empties the eventfd: it is readable until the very end.
    writeFileSync(
      path,
      `const { parentPort, workerData } = require('node:worker_threads');
const { Poll } = require(${JSON.stringify(join(ROOT, 'native/build/Release/typevisor.node'))});
globalThis.poll = new Poll(workerData, false, () => parentPort.postMessage('rung'));`,
    );
    const { status, signal, stdout, stderr } = run(`
const { eventfd, signalEventfd } = await import(${JSON.stringify(join(ROOT, 'src/host/libc.ts'))});
const { Worker } = await import('node:worker_threads');
const fd = eventfd();
signalEventfd(fd);
const worker = new Worker(${JSON.stringify(path)}, { workerData: fd, execArgv: [] });
await new Promise((resolve) => worker.once('message', resolve));
console.log(await worker.terminate());
await file.close();`);
    expect({ status, signal, stdout, stderr }).toEqual({ status: 0, signal: null, stdout: '1', stderr: '' });
  });

  it.each([{}, { direct: abilities(folder).direct }, { engine: 'pool' }])(
    'survives process.exit() with reads in flight (%o)',
    (options) => {
      const exit = (when: string): string => `${MANY}\n${when}(() => process.exit(7));`;
      expect(run(exit('setImmediate'), { options })).toMatchObject({ status: 7, stderr: '' });
      expect(run(exit('queueMicrotask'), { options })).toMatchObject({ status: 7, stderr: '' });
    },
  );

  it('survives an uncaught exception with writes in flight', () => {
    const { status, signal, stderr } =
      run(`for (let n = 0; n < 300; n += 1) file.write(n * 65536, new Uint8Array(65536));
setImmediate(() => { throw new Error('on purpose'); });`);
    expect({ status, signal }).toEqual({ status: 1, signal: null });
    expect(stderr).toContain('on purpose');
  });

  it('falls back to the thread pool where seccomp bars io_uring', () => {
    const body = `const into = new Uint8Array(4096);
await file.read(4096, into);
await file.write(0, into.fill(9));
await file.sync();
await file.punch(8192, 4096);
console.log(file.engine, into[0]);
await file.close();`;
    expect(run(body)).toMatchObject({ status: 0, stdout: 'io_uring 9' });
    expect(run(body, { launcher: [barred] })).toMatchObject({ status: 0, stdout: 'pool 9' });
  });

  it('says so when io_uring is wanted and barred', () => {
    const { status, stderr } = run('', { launcher: [barred], options: { engine: 'io_uring' } });
    expect(status).toBe(1);
    expect(stderr).toContain('io_uring_setup: EPERM');
  });
});
