/**
 * The host's ports of one guest: who listens where. A listener of the embedder comes first; then, with a path, the Unix socket of
 * the port's name.
 * Runs on: main.
 */
import type { GuestStream, HostEnd, VsockHost } from '../../devices/vsock/backend.js';
import { VsockListener } from './listener.js';
import { type StreamOwner, VsockStream } from './stream.js';

/** Where connections go that no listener wants. */
export interface VsockFallback {
  connecting(stream: GuestStream): HostEnd | undefined;
  close(): Promise<void>;
}

export class VsockPorts implements VsockHost, StreamOwner {
  /** Why the VM ended. */
  ended: string | undefined;
  fallback: VsockFallback | undefined;
  readonly #listeners = new Map<number, VsockListener>();

  /** @returns undefined when the port is taken */
  listen(port: number): VsockListener | undefined {
    if (this.#listeners.has(port)) return undefined;
    const listener = new VsockListener(port, () => this.#listeners.delete(port));
    if (this.ended === undefined) this.#listeners.set(port, listener);
    else listener.close();
    return listener;
  }

  connecting(stream: GuestStream): HostEnd | undefined {
    const listener = this.#listeners.get(stream.hostPort);
    if (!listener) return this.fallback?.connecting(stream);
    let end: VsockStream | undefined;
    listener.offer(() => {
      end = new VsockStream(this).attach(stream);
      stream.accept();
      return end;
    });
    return end;
  }

  /** The VM has ended: nobody will connect any more. */
  finish(why: string): void {
    this.ended = why;
    for (const listener of [...this.#listeners.values()]) listener.close();
  }

  async close(): Promise<void> {
    await this.fallback?.close();
  }
}
