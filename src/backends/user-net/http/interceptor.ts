/**
 * A guest's HTTP and HTTPS, read: each request is shown to the policy's function, which may answer it; what it leaves alone goes to where
 * the guest wanted, with secrets filled in. HTTPS is ended here with a certificate that the guest trusts, and begun anew towards the
 * host, whose own certificate is checked as Node checks them.
 *
 * Where a request goes was judged by the connection's address and names. The name it is for must be one of these: else a guest could
 * ask one host's address for another's pages.
 * Runs on: main.
 */
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { TLSSocket } from 'node:tls';
import type { CertificateAuthority } from './certificates.js';
import type { Secrets } from './secrets.js';

/** How long the policy's function may take. */
const DECISION_MS = 30_000;
/** Headers of one hop (RFC 9110 §7.6.1), and those that the other side's own request sets. */
const HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** What `fetch` has undone in a response of its own. */
const UNDONE = new Set(['content-encoding', 'content-length']);

/** Where a connection that is read leads, and by which names the guest knows it. */
export interface Target {
  readonly address: string;
  readonly port: number;
  readonly names: readonly string[];
  readonly tls: boolean;
}

/** What the policy's function is told beside the request. */
export interface FetchContext {
  /** Whether it came by HTTPS. */
  readonly tls: boolean;
  /** The address that it would go to. */
  readonly address: string;
  /** The port there. */
  readonly port: number;
}

/** Answers a request, or leaves it alone. */
export type FetchHook = (
  request: Request,
  context: FetchContext,
) => Response | undefined | Promise<Response | undefined>;

export interface InterceptorOptions {
  readonly fetch: FetchHook | undefined;
  readonly secrets: Secrets;
  readonly authority: CertificateAuthority;
  /** Certificates that servers may have beside those that Node trusts, PEM. */
  readonly trust?: string | undefined;
  readonly decided: (
    verdict: 'allow' | 'deny',
    host: string,
    target: Target,
    reason: string,
    error?: unknown,
  ) => void;
}

class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    options?: { cause: unknown },
  ) {
    super(message, options);
  }
}

export class Interceptor {
  readonly #options: InterceptorOptions;
  readonly #server: Server;
  readonly #targets = new WeakMap<object, Target>();
  readonly #open = new Set<Duplex>();

  constructor(options: InterceptorOptions) {
    this.#options = options;
    // The guest ends what it does not use; a connection without requests costs what any other does.
    this.#server = createServer(
      { keepAliveTimeout: 0 },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** Takes the guest's end of a connection. */
  take(stream: Duplex, target: Target): void {
    this.#open.add(stream);
    stream.once('close', () => this.#open.delete(stream));
    stream.on('error', () => {}); // the guest has cut it
    if (!target.tls) {
      this.#begin(stream, target);
      return;
    }
    let name: string | undefined;
    const secure = new TLSSocket(stream, {
      isServer: true,
      ALPNProtocols: ['http/1.1'],
      SNICallback: (servername, done) => {
        name = servername.toLowerCase();
        const known = target.names.includes(name);
        if (known) done(null, this.#options.authority.contextFor(name));
        else {
          this.#options.decided(
            'deny',
            name,
            target,
            'TLS for a name by which the guest was not told this address',
          );
          done(new Error('not this host'));
        }
      },
    });
    secure.on('error', () => stream.destroy());
    secure.on('_tlsError', () => stream.destroy()); // what a failed handshake is, until it is over
    secure.once('close', () => stream.destroy());
    // Only the name that the certificate is for: one connection is not a way to another host.
    secure.once('secure', () => this.#begin(secure, { ...target, names: name === undefined ? [] : [name] }));
  }

  close(): void {
    for (const stream of this.#open) stream.destroy();
    this.#server.close();
  }

  #begin(stream: Duplex, target: Target): void {
    this.#targets.set(stream, target);
    this.#server.emit('connection', stream);
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const target = this.#targets.get(incoming.socket)!;
    const host = (incoming.headers.host ?? '')
      .toLowerCase()
      .replace(/:\d+$/, '')
      .replace(/^\[|\]$/g, '');
    try {
      if (host !== target.address && !target.names.includes(host)) {
        throw new Refusal(421, 'asks one host for another'); // RFC 9110 §15.5.20
      }
      const body = hasBody(incoming) ? (Readable.toWeb(incoming) as ReadableStream<Uint8Array>) : undefined;
      const request = this.#toRequest(incoming, host, target, body);
      const response = await this.#ask(request, target);
      this.#options.decided(
        'allow',
        host,
        target,
        response ? 'fetch: answered' : `${request.method} passed on`,
      );
      if (response) await respond(response, outgoing);
      else await this.#pass(incoming, request, outgoing, host, target);
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal(502, describe(error), { cause: error });
      this.#options.decided('deny', host, target, refusal.message, refusal.cause);
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(refusal.status, { connection: 'close' }).end(`${refusal.message}\n`);
    }
  }

  #toRequest(
    incoming: IncomingMessage,
    host: string,
    target: Target,
    body: ReadableStream | undefined,
  ): Request {
    const scheme = target.tls ? 'https' : 'http';
    const headers = pairs(incoming).filter(([name]) => !HOP.has(name.toLowerCase()));
    const init = { method: incoming.method!, headers, ...(body && { body, duplex: 'half' as const }) };
    try {
      // Without a port: only the usual ones are read.
      const base = `${scheme}://${host.includes(':') ? `[${host}]` : host}`;
      const path = incoming.url!;
      if (!path.startsWith('/')) throw new TypeError('not a path');
      return new Request(base + path, init as RequestInit);
    } catch (cause) {
      throw new Refusal(400, 'not a request that can be passed on', { cause });
    }
  }

  async #ask(request: Request, { tls, address, port }: Target): Promise<Response | undefined> {
    const { fetch } = this.#options;
    if (!fetch) return;
    let timer: NodeJS.Timeout | undefined;
    try {
      const limit = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${DECISION_MS / 1000} s`)), DECISION_MS);
        timer.unref();
      });
      const answer: unknown = await Promise.race([
        (async () => fetch(request, { tls, address, port }))(),
        limit,
      ]);
      if (answer === undefined || answer instanceof Response) return answer;
      throw new Error('returned neither a response nor undefined');
    } catch (cause) {
      throw new Refusal(502, `fetch: ${describe(cause)}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends the request on, and its answer back. */
  async #pass(
    incoming: IncomingMessage,
    request: Request,
    outgoing: ServerResponse,
    host: string,
    target: Target,
  ): Promise<void> {
    if (request.bodyUsed) throw new Refusal(502, 'fetch: read the body and returned no response');
    const fill = (text: string): string => {
      const filled = this.#options.secrets.fill(text, target.tls ? host : '');
      if (filled === undefined)
        throw new Refusal(403, 'a secret that is not for this host, or not without TLS');
      return filled;
    };
    const headers = pairs(incoming)
      .filter(([name]) => !HOP.has(name.toLowerCase()) && name.toLowerCase() !== 'content-length')
      .flatMap(([name, value]) => [name, fill(value)]);
    const { body } = request;
    const length = incoming.headers['content-length'];
    if (body && length !== undefined) headers.push('Content-Length', length);
    const { address, port, tls } = target;
    const options = {
      host: address,
      port,
      method: incoming.method!,
      path: fill(incoming.url!),
      headers,
      agent: false as const,
    };
    const { trust } = this.#options;
    const upstream = tls
      ? httpsRequest({ ...options, servername: host, ...(trust && { ca: trust }) })
      : httpRequest(options);
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      upstream.once('response', resolve).once('error', reject);
    });
    outgoing.once('close', () => upstream.destroy());
    if (body)
      void pipeline(Readable.fromWeb(body as ReadableStream), upstream).catch((error: Error) =>
        upstream.destroy(error),
      );
    else upstream.end();
    const answer = await answered;
    const kept = pairs(answer).filter(([name]) => !HOP.has(name.toLowerCase()));
    outgoing.writeHead(answer.statusCode!, answer.statusMessage, kept.flat());
    await pipeline(answer, outgoing);
  }
}

const describe = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const hasBody = ({ headers, method }: IncomingMessage): boolean =>
  method !== 'GET' &&
  method !== 'HEAD' &&
  (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0);

/** Headers as they were sent, several of a name among them. */
function pairs({ rawHeaders }: IncomingMessage): [string, string][] {
  const list: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) list.push([rawHeaders[at]!, rawHeaders[at + 1]!]);
  return list;
}

async function respond(response: Response, outgoing: ServerResponse): Promise<void> {
  const fetched = response.url !== ''; // by the function itself, which has the body decoded
  const headers = [...response.headers].filter(([name]) => !HOP.has(name) && !(fetched && UNDONE.has(name)));
  outgoing.writeHead(response.status, response.statusText || undefined, headers.flat());
  if (response.body) await pipeline(Readable.fromWeb(response.body as ReadableStream), outgoing);
  else outgoing.end();
}
