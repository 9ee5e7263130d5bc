/**
 * vsock-host.ts KERNEL INITRD MEMORY CID: a guest of ours whose sockets this program serves, as peers/vsock.c does for others: it
 * counts, it fills, and it sends back. The guest's console goes to standard output.
 * Runs on: main, in a process of its own.
 */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { VirtualMachine } from '../library.js';
import { VSOCK_PORT } from '../vsock-jobs.js';

const [kernel = '', initrd = '', memory = '', cid = ''] = process.argv.slice(2);
const BLOCK = Buffer.alloc(64 * 1024);

function sink(connection: Duplex): void {
  let total = 0n;
  connection.on('data', (chunk: Buffer) => {
    total += BigInt(chunk.length);
  });
  connection.on('end', () => {
    const answer = Buffer.alloc(8);
    answer.writeBigUInt64LE(total);
    connection.end(answer);
  });
}

function source(connection: Duplex): void {
  const more = (): void => {
    while (!connection.destroyed && connection.write(BLOCK)) {}
  };
  connection.on('drain', more);
  connection.resume();
  // The guest has had enough.
  connection.on('error', () => {});
  more();
}

function echo(connection: Duplex): void {
  connection.on('data', (chunk: Buffer) => connection.write(chunk));
  connection.on('end', () => connection.end());
}

const vm = await VirtualMachine.create({
  kernel,
  initrd,
  memory,
  cmdline: 'quiet',
  vsock: { cid: Number(cid) },
});
for (const [port, serve] of [
  [VSOCK_PORT.SINK, sink],
  [VSOCK_PORT.SOURCE, source],
  [VSOCK_PORT.ECHO, echo],
] as const) {
  const listener = vm.vsock!.listen(port);
  void (async () => {
    for await (const connection of listener) serve(connection);
  })();
}
vm.serial.pipe(process.stdout, { end: false });
await vm.start();
await vm.exited;
if (process.stdout.writableLength > 0) await once(process.stdout, 'drain');
process.exit(0);
