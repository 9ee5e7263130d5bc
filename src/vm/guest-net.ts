/**
 * A network card as an embedder holds it while the VM runs: pull its cable, limit it, see what passed.
 * Runs on: main.
 */
import type { UserNet } from '../backends/user-net/user-net.js';
import type { NetDevice } from '../devices/net/device.js';
import { formatMac } from '../devices/net/mac.js';
import type { RateLimit } from '../devices/rate-limiter.js';

/** Limits on what a guest receives (`rx`) and on what it sends (`tx`). */
export interface NetRateLimit {
  /** On what the guest receives. */
  readonly rx?: RateLimit | undefined;
  /** On what the guest sends. */
  readonly tx?: RateLimit | undefined;
}

/** A network card of a VM, as `vm.nets` gives it. */
export class GuestNet {
  /** Frames and bytes so far, and what was dropped and why. */
  readonly stats: NetDevice['stats'];

  constructor(
    readonly id: string,
    private readonly device: NetDevice,
    /** The network behind it, if that is a user network: its policy, forwards and decisions. */
    readonly user: UserNet | undefined = undefined,
  ) {
    this.stats = device.stats;
  }

  /** The card's address now, `02:00:00:00:00:01`: the guest may change it. */
  get mac(): string {
    return formatMac(this.device.mac);
  }

  /** Whether the cable is plugged in. */
  get linkUp(): boolean {
    return this.device.linkUp;
  }

  /** Plugs the cable in or out. The guest sees it, and frames are dropped while it is out. */
  setLink(up: boolean): void {
    this.device.setLink(up);
  }

  /** Asks the guest to tell the network where its addresses are, after it was moved to another one. */
  announce(): void {
    this.device.announce();
  }

  /** New rate limits from now on, for each direction; none where none is given. */
  limit({ rx = {}, tx = {} }: NetRateLimit = {}): void {
    this.device.rxLimiter.update(rx);
    this.device.txLimiter.update(tx);
  }
}
