/** The resolver's port 80: whatever is asked there, the answer is the certificate that the guest is to trust. Runs on: main. */
import type { Connection } from '../tcp/connection.js';
import type { TcpUser } from '../tcp/ends.js';

/** A request is over at its first empty line; nobody needs a longer one for this. */
const MAX_REQUEST = 8192;

export class CertificatePage implements TcpUser {
  readonly pending = 0;
  readonly #connection: Connection;
  readonly #certificate: () => Promise<string>;
  #request = '';
  #answered = false;

  constructor(connection: Connection, certificate: () => Promise<string>) {
    this.#connection = connection;
    this.#certificate = certificate;
  }

  established(): void {}
  drained(): void {}
  closed(): void {}

  data(bytes: Uint8Array): void {
    if (this.#answered) return;
    this.#request += Buffer.from(bytes).toString('latin1');
    if (this.#request.length > MAX_REQUEST) this.#connection.abort();
    else if (/\r?\n\r?\n/.test(this.#request)) this.#answer().catch(() => this.#connection.abort());
  }

  ended(): void {
    if (!this.#answered) this.#connection.abort();
  }

  async #answer(): Promise<void> {
    this.#answered = true;
    const body = await this.#certificate();
    const head = [
      'HTTP/1.0 200 OK',
      'Content-Type: application/x-pem-file',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
    ];
    this.#connection.write(Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`));
    this.#connection.end();
  }
}
