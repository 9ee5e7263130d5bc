/** A guest's request on its way to the host's side, with secrets filled in, and the answer on its way back. Runs on: main. */
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { type GuestRequest, headersOf, Refusal } from './request.js';
import type { Secrets } from './secrets.js';

/** Certificates of the authorities whose servers are believed: those that come with Node, and `more`, PEM. */
export const trusted = (more: string): readonly string[] => [...rootCertificates, more];

export class Upstream {
  readonly #secrets: Secrets;
  /** Certificates beside Node's; made of them once, since reading Node's takes some milliseconds. */
  readonly #trust: string | undefined;
  #context: SecureContext | undefined;

  constructor(secrets: Secrets, trust: string | undefined) {
    this.#secrets = secrets;
    this.#trust = trust;
  }

  /** @throws Refusal, or an Error of the network */
  async pass(
    { host, method, path, headers, request }: GuestRequest,
    outgoing: ServerResponse,
    { address, port, tls }: { readonly address: string; readonly port: number; readonly tls: boolean },
  ): Promise<void> {
    if (request.bodyUsed) throw new Refusal(502, 'fetch: read the body and returned no response');
    const fill = (text: string): string => {
      const filled = this.#secrets.fill(text, tls ? host : '');
      if (filled === undefined)
        throw new Refusal(403, 'a secret that is not for this host, or not without TLS');
      return filled;
    };
    const options = {
      host: address,
      port,
      method,
      path: fill(path),
      headers: headers.flatMap(([name, value]) => [name, fill(value)]),
      agent: false as const,
    };
    const upstream = tls
      ? httpsRequest({ ...options, servername: host, ...this.#trustedContext() })
      : httpRequest(options);
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      upstream.once('response', resolve).once('error', reject);
    });
    outgoing.once('close', () => upstream.destroy());
    const { body } = request;
    if (body)
      void pipeline(Readable.fromWeb(body as ReadableStream), upstream).catch((error: Error) =>
        upstream.destroy(error),
      );
    else upstream.end();
    const answer = await answered;
    outgoing.writeHead(answer.statusCode!, answer.statusMessage, headersOf(answer).flat());
    await pipeline(answer, outgoing);
  }

  #trustedContext(): { secureContext?: SecureContext } {
    if (this.#trust === undefined) return {};
    this.#context ??= createSecureContext({ ca: [...trusted(this.#trust)] });
    return { secureContext: this.#context };
  }
}
