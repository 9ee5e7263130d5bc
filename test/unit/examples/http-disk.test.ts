/** The example against a web server of ours. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { CheckedDisk } from '../../../src/backends/checked-disk.js';
import { OverlayDisk } from '../../../src/backends/overlay-disk.js';
import { httpDisk } from '../../examples/http-disk.js';
import { describeBlockBackend } from '../../support/block-backend-contract.js';

const servers: Server[] = [];

async function serve(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.img`;
}

const stop = async (): Promise<void> => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
};

/** What RFC 9110 §14 wants of a server with ranges, as much as the example needs. */
const file =
  (content: Uint8Array, tag: () => string = () => '"1"') =>
  ({ method, headers }: IncomingMessage, response: ServerResponse): void => {
    response.setHeader('accept-ranges', 'bytes').setHeader('etag', tag());
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    if (headers['if-match'] !== undefined && headers['if-match'] !== tag()) response.writeHead(412).end();
    else if (method === 'HEAD') response.writeHead(200, { 'content-length': content.length }).end();
    else if (first === undefined || Number(last) >= content.length) response.writeHead(416).end();
    else response.writeHead(206).end(content.subarray(Number(first), Number(last) + 1));
  };

describe('a disk over HTTP', () => {
  afterEach(stop);

  describeBlockBackend(
    'as the machine sees it',
    { make: async (content) => new CheckedDisk(await httpDisk(await serve(file(content)))) },
    { rounds: 50 },
  );
  describeBlockBackend(
    'under an overlay',
    { make: async (content) => new OverlayDisk(new CheckedDisk(await httpDisk(await serve(file(content))))) },
    { rounds: 50 },
  );

  const sector = (): Uint8Array => new Uint8Array(512);

  it('is refused when the server has no such file, or no ranges', async () => {
    const missing = await serve((_request, response) => void response.writeHead(404).end());
    await expect(httpDisk(missing)).rejects.toThrow('HTTP 404');
    const plain = await serve(
      (_request, response) => void response.writeHead(200, { 'content-length': 4096 }).end(),
    );
    await expect(httpDisk(plain)).rejects.toThrow('no file that can be read in ranges');
  });

  it('fails, rather than mixing two files, when the file on the server changes', async () => {
    let version = 1;
    const disk = await httpDisk(await serve(file(new Uint8Array(4096), () => `"${version}"`)));
    await disk.read(0, sector());
    version = 2;
    await expect(disk.read(0, sector())).rejects.toThrow('HTTP 412');
  });

  it('fails when the server sends less, or everything', async () => {
    for (const [status, length, message] of [
      [206, 100, '100 bytes for bytes=0-511'],
      [200, 4096, 'HTTP 200'],
    ] as const) {
      const url = await serve(({ method }, response) => {
        response.setHeader('accept-ranges', 'bytes');
        response.writeHead(method === 'HEAD' ? 200 : status, {
          'content-length': method === 'HEAD' ? 4096 : length,
        });
        response.end(method === 'HEAD' ? undefined : new Uint8Array(length));
      });
      const disk = await httpDisk(url);
      await expect(disk.read(0, sector())).rejects.toThrow(message);
    }
  });

  it('fails when the server is gone', async () => {
    const disk = await httpDisk(await serve(file(new Uint8Array(4096))));
    await stop();
    await expect(disk.read(0, sector())).rejects.toThrow();
  });
});
