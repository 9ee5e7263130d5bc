/** A connection of the simulated guest as a stream, so that Node's own HTTP and TLS can be the guest's programs. */
import { Duplex } from 'node:stream';
import type { GuestTcp } from './guest-tcp.js';

export class GuestStream extends Duplex {
  readonly #connection: GuestTcp;
  #written: (() => void) | undefined;

  constructor(connection: GuestTcp) {
    super();
    this.#connection = connection;
    connection.onData = (bytes) => void this.push(bytes.slice());
    connection.onEnd = () => void this.push(null);
    connection.onDrain = () => {
      const written = this.#written;
      this.#written = undefined;
      written?.();
    };
    connection.onClose = (why) => {
      if (why === 'done') this.destroy();
      else this.destroy(new Error(why));
    };
  }

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    this.#written = done;
    this.#connection.write(Uint8Array.from(chunk));
  }

  override _final(done: () => void): void {
    this.#connection.end();
    done();
  }
}
