/**
 * A guest's HTTP and HTTPS, read: each request is shown to the policy's function, which may answer it; what it leaves alone goes to where
 * the guest wanted, with secrets filled in. HTTPS is ended here with a certificate that the guest trusts, and begun anew towards the
 * host, whose own certificate is checked as Node checks them.
 *
 * Where a request goes was judged by the connection's address and names. The name it is for must be one of these: else a guest could
 * ask one host's address for another's pages.
 * Runs on: main.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { Clock } from '../clock.js';
import { withLimit } from '../time-limit.js';
import type { CertificateAuthority } from './certificates.js';
import { isForAll, Refusal, readRequest } from './request.js';
import type { Secrets } from './secrets.js';
import { Upstream } from './upstream.js';

/** How long the policy's function may take. */
const DECISION_MS = 30_000;
/**
 * Busybox's wget says nothing of signatures, which then means SHA-1 (RFC 5246 §7.4.1.4.1): too weak for a network, but this half never
 * leaves the process. TLS 1.2 at least it must be all the same.
 */
const CIPHERS = 'DEFAULT@SECLEVEL=0';
/** What `fetch` has undone in a response of its own. */
const UNDONE = new Set(['content-encoding', 'content-length']);

/** Where a connection that is read leads, and what the guest may call the host there. */
export interface Target {
  readonly address: string;
  readonly port: number;
  readonly hosts: readonly string[];
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
  readonly clock: Clock;
  readonly decided: (
    verdict: 'allow' | 'deny',
    host: string,
    target: Target,
    reason: string,
    error?: unknown,
  ) => void;
}

interface Details {
  readonly host?: string;
  readonly error?: unknown;
}

export class Interceptor {
  readonly #options: InterceptorOptions;
  readonly #server: Server;
  readonly #upstream: Upstream;
  readonly #secureContext = createSecureContext({ ciphers: CIPHERS });
  readonly #targets = new WeakMap<object, Target>();
  readonly #open = new Set<Duplex>();

  constructor(options: InterceptorOptions) {
    this.#options = options;
    // The guest ends what it does not use; a connection without requests costs what any other does.
    this.#server = createServer(
      // Strict, whatever the process was started with: a lenient parser sees other requests than a server behind it may.
      { keepAliveTimeout: 0, insecureHTTPParser: false },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.on('clientError', ({ code }: NodeJS.ErrnoException, socket) => {
      const target = this.#targets.get(socket);
      if (target && code?.startsWith('HPE_')) this.#deny(target, `no HTTP that can be read: ${code}`);
      socket.destroy();
    });
    this.#upstream = new Upstream(options.secrets, options.trust);
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
    let refused = false;
    const secure = new TLSSocket(stream, {
      isServer: true,
      secureContext: this.#secureContext,
      ALPNProtocols: ['http/1.1'],
      SNICallback: (servername, done) => {
        name = servername.toLowerCase();
        if (target.hosts.includes(name)) {
          done(null, this.#options.authority.contextFor(name));
          return;
        }
        refused = true;
        this.#deny(target, 'TLS for a name by which the guest was not told this address', { host: name });
        done(new Error('not this host'));
      },
    });
    secure.on('error', () => stream.destroy());
    // What a failed handshake is, until it is over: no name in it, or a guest that does not trust the certificate.
    secure.on('_tlsError', (error: Error) => {
      const reason = name === undefined ? 'TLS without the name of a host' : `TLS: ${error.message}`;
      if (!refused) this.#deny(target, reason, { ...(name && { host: name }), error });
      refused = true;
      stream.destroy();
    });
    secure.once('close', () => stream.destroy());
    // Only the name that the certificate is for: one connection is not a way to another host.
    secure.once('secure', () => this.#begin(secure, { ...target, hosts: name === undefined ? [] : [name] }));
  }

  close(): void {
    for (const stream of this.#open) stream.destroy();
    this.#server.close();
  }

  #begin(stream: Duplex, target: Target): void {
    this.#targets.set(stream, target);
    this.#server.emit('connection', stream);
  }

  #deny(
    target: Target,
    reason: string,
    { host = target.hosts[0] ?? target.address, error }: Details = {},
  ): void {
    this.#options.decided('deny', host, target, reason, error);
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const target = this.#targets.get(incoming.socket)!;
    // What it calls the host, whether it may or not, for who reads of the decision.
    let host = incoming.headers.host ?? target.address;
    try {
      const read = readRequest(incoming, target.hosts, target.tls);
      host = read.host;
      const response = await this.#ask(read.request, target);
      const reason = response ? 'fetch: answered' : `${read.method} passed on`;
      this.#options.decided('allow', host, target, reason);
      if (response) await respond(response, outgoing);
      else await this.#upstream.pass(read, outgoing, target);
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal(502, describe(error), { cause: error });
      this.#deny(target, refusal.message, { host, error: refusal.cause });
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(refusal.status, { connection: 'close' }).end(`${refusal.message}\n`);
    }
  }

  async #ask(request: Request, { tls, address, port }: Target): Promise<Response | undefined> {
    const { fetch, clock } = this.#options;
    if (!fetch) return;
    try {
      const context = { tls, address, port };
      const answer: unknown = await withLimit(clock, DECISION_MS, async () => fetch(request, context));
      if (answer === undefined || answer instanceof Response) return answer;
      throw new Error('returned neither a response nor undefined');
    } catch (cause) {
      throw new Refusal(502, `fetch: ${describe(cause)}`, { cause });
    }
  }
}

const describe = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function respond(response: Response, outgoing: ServerResponse): Promise<void> {
  const fetched = response.url !== ''; // by the function itself, which has the body decoded
  const headers = [...response.headers].filter(([name]) => isForAll(name) && !(fetched && UNDONE.has(name)));
  outgoing.writeHead(response.status, response.statusText || undefined, headers.flat());
  if (response.body) await pipeline(Readable.fromWeb(response.body as ReadableStream), outgoing);
  else outgoing.end();
}
