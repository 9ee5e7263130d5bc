/** DNS over TCP (RFC 7766): each message with its length in front; several may be under way. Runs on: main. */
import type { DnsServer } from './dns-server.js';
import { ByteQueue } from './tcp/byte-queue.js';
import type { Connection } from './tcp/connection.js';
import type { TcpUser } from './tcp/ends.js';

/** Questions of one connection under way. */
const MAX_QUESTIONS = 8;

export class DnsOverTcp implements TcpUser {
  readonly #connection: Connection;
  readonly #server: DnsServer;
  readonly #input = new ByteQueue();
  #open = 0;
  #ended = false;

  constructor(connection: Connection, server: DnsServer) {
    this.#connection = connection;
    this.#server = server;
  }

  get pending(): number {
    return this.#input.length;
  }

  established(): void {}
  drained(): void {}
  closed(): void {}

  data(bytes: Uint8Array): void {
    this.#input.push(bytes);
    this.#next();
  }

  ended(): void {
    this.#ended = true;
    this.#next();
  }

  #next(): void {
    const prefix = new Uint8Array(2);
    while (this.#open < MAX_QUESTIONS && this.#input.length >= 2) {
      this.#input.copy(0, prefix);
      const length = (prefix[0]! << 8) | prefix[1]!;
      if (this.#input.length < 2 + length) break;
      const message = new Uint8Array(length);
      this.#input.copy(2, message);
      this.#input.drop(2 + length);
      this.#connection.consumed();
      this.#answer(message).catch(() => this.#connection.abort());
    }
    if (this.#ended && this.#open === 0) this.#connection.end();
  }

  async #answer(message: Uint8Array): Promise<void> {
    this.#open += 1;
    const answer = await this.#server.answer(message, false);
    this.#open -= 1;
    if (!answer) return this.#connection.abort();
    this.#connection.write(Uint8Array.of(answer.length >>> 8, answer.length & 0xff));
    this.#connection.write(answer);
    this.#next();
  }
}
