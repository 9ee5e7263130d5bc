/** Web servers of this process behind a user network that reads, and a guest's requests to them. */
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { CertificateAuthority } from '../../../src/backends/user-net/http/certificates.js';
import type { UserNetOptions } from '../../../src/backends/user-net/user-net.js';
import { GuestStream } from './guest-stream.js';
import { resolveName, type UserNetBench, userNet } from './user-net-bench.js';

/** Where every name that ends in `.test` leads. */
export const WEB_ADDRESS = '93.184.216.34';

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** One server for HTTP, one for HTTPS with a certificate for whatever name it is asked for. */
export class WebBench implements AsyncDisposable {
  readonly authority = new CertificateAuthority('test servers');
  /** What came to either server. */
  readonly seen: SeenRequest[] = [];
  /** Answers instead of the greeting, if it wants to. */
  respond: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  readonly #web = createServer((request, response) => this.#take(request, response));
  readonly #secureWeb = createTlsServer(
    { SNICallback: (name, done) => done(null, this.authority.contextFor(name)) },
    (request, response) => this.#take(request, response),
  );

  async listen(): Promise<this> {
    for (const server of [this.#web, this.#secureWeb]) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#web.close();
    this.#secureWeb.close();
    return Promise.resolve();
  }

  /** Of 127.0.0.1. */
  get ports(): { readonly http: number; readonly https: number } {
    const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;
    return { http: portOf(this.#web), https: portOf(this.#secureWeb) };
  }

  /** Resolves when nobody is connected to the server for HTTP, nor about to be. */
  async quiet(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      await new Promise(setImmediate); // who has connected is seen in the next turn
      const open = await new Promise((resolve) => this.#web.getConnections((_, count) => resolve(count)));
      quiet = open === 0 ? quiet + 1 : 0;
    }
  }

  /** A network where names lead to one public address, and that to this process. */
  network(options: UserNetOptions): UserNetBench {
    const { http, https } = this.ports;
    return userNet({
      dns: ({ name }) => (name.endsWith('.test') ? [WEB_ADDRESS] : false),
      connect: ({ port }) => ({ address: '127.0.0.1', port: port === 443 ? https : http }),
      trust: this.authority.pem,
      ...options,
    });
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    request.on('data', (chunk) => void chunks.push(chunk));
    request.on('end', () => {
      const { method, url, headers, rawHeaders } = request;
      this.seen.push({
        method: method!,
        url: url!,
        headers,
        rawHeaders,
        body: Buffer.concat(chunks).toString(),
      });
      if (this.respond) this.respond(request, response);
      else
        response
          .writeHead(201, { 'X-From': 'server', 'Set-Cookie': ['a=1', 'b=2'] })
          .end(`hello from ${headers.host}`);
    });
  }
}

/** A request as a program in the guest makes it, over the guest's own TCP. */
export async function get(
  bench: UserNetBench,
  url: string,
  {
    method = 'GET',
    headers = {} as Record<string, string>,
    body = '',
    host = new URL(url).host,
    servername = new URL(url).hostname as string | undefined,
  } = {},
): Promise<Reply> {
  const { protocol, pathname, search } = new URL(url);
  const tls = protocol === 'https:';
  const raw = new GuestStream(bench.guest.connect(WEB_ADDRESS, tls ? 443 : 80));
  const ca = (await bench.net.certificate())!;
  const stream = tls ? tlsConnect({ socket: raw, ...(servername && { servername }), ca }) : raw;
  if (tls) await once(stream, 'secureConnect');
  const request = httpRequest({
    createConnection: () => stream,
    method,
    path: pathname + search,
    headers: { host, connection: 'close', ...headers },
  });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

/** Bytes that a program in the guest sends to port 80 as they are. @returns everything that comes, to the connection's end */
export async function sendRaw(bench: UserNetBench, text: string): Promise<string> {
  const connection = bench.guest.connect(WEB_ADDRESS, 80);
  const ended = new Promise<void>((resolve) => {
    connection.onEnd = resolve;
    connection.onClose = () => resolve();
  });
  let answer = '';
  connection.onData = (bytes) => {
    answer += Buffer.from(bytes).toString('latin1');
  };
  connection.write(Buffer.from(text, 'latin1'));
  await ended;
  return answer;
}

/** A network of `web` whose guest knows some names. */
export async function networkKnowing(
  web: WebBench,
  names: readonly string[],
  options: UserNetOptions,
): Promise<UserNetBench> {
  const bench = web.network(options);
  for (const name of names) await resolveName(bench, name);
  return bench;
}
