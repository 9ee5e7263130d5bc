/**
 * Which of the guest's connections are read as HTTP, and everything that takes: loaded when the first one comes.
 * Runs on: main.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../clock.js';
import type { Flow } from '../gate.js';
import type { NetDecision } from '../net-policy.js';
import type { CertificateAuthority } from './certificates.js';
import type { FetchHook, Interceptor } from './interceptor.js';
import { type NetSecret, Secrets } from './secrets.js';

/** By the guest's idea of the port; a redirection does not change what is spoken. */
const PORT = { HTTP: 80, HTTPS: 443 } as const;

export interface HttpReaderOptions {
  readonly fetch: FetchHook | undefined;
  readonly secrets: Readonly<Record<string, NetSecret>> | undefined;
  /** Certificates that servers may have beside those that Node trusts, PEM. */
  readonly trust: string | undefined;
  readonly clock: Clock;
  readonly decided: (decision: NetDecision) => void;
}

export class HttpReader {
  readonly secrets: Secrets;
  readonly #options: HttpReaderOptions;
  #authority: Promise<CertificateAuthority> | undefined;
  #interceptor: Promise<Interceptor> | undefined;

  /** @throws RangeError for a secret that is wrong */
  constructor(options: HttpReaderOptions) {
    this.#options = options;
    this.secrets = new Secrets(options.secrets ?? {});
  }

  /** The certificate that the guest is to trust, PEM. */
  async certificate(): Promise<string> {
    return (await this.#loadAuthority()).pem;
  }

  wants({ proto, port }: Flow): boolean {
    return proto === 'tcp' && (port === PORT.HTTP || port === PORT.HTTPS);
  }

  /** HTTP/3 (RFC 9114) goes by UDP to the same servers: whoever relies on `fetch` would not see it. Programs then use TCP. */
  cannotRead({ proto, port }: Flow): boolean {
    return this.#options.fetch !== undefined && proto === 'udp' && port === PORT.HTTPS;
  }

  /**
   * Takes the guest's end of a connection to where the policy has let it.
   * @param hosts what the guest may call the host there
   */
  async take(
    stream: Duplex,
    flow: Flow,
    to: { address: string; port: number },
    hosts: readonly string[],
  ): Promise<void> {
    const interceptor = await this.#load();
    interceptor.take(stream, { ...to, hosts, tls: flow.port === PORT.HTTPS });
  }

  async close(): Promise<void> {
    (await this.#interceptor)?.close();
  }

  async #loadAuthority(): Promise<CertificateAuthority> {
    this.#authority ??= import('./certificates.js').then(
      ({ CertificateAuthority }) => new CertificateAuthority('Typevisor user network'),
    );
    return this.#authority;
  }

  #load(): Promise<Interceptor> {
    this.#interceptor ??= Promise.all([import('./interceptor.js'), this.#loadAuthority()]).then(
      ([{ Interceptor }, authority]) => {
        const { fetch, trust, clock, decided } = this.#options;
        return new Interceptor({
          ...{ fetch, trust, clock, authority },
          secrets: this.secrets,
          decided: (verdict, host, { address, port }, reason, error) =>
            decided({
              verdict,
              proto: 'http',
              host,
              address,
              port,
              reason,
              ...(error !== undefined && { error }),
            }),
        });
      },
    );
    return this.#interceptor;
  }
}
