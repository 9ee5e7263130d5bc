/** What the relays ask before anything leaves the guest's network. The policy answers; see policy.ts. */
import type { Duplex } from 'node:stream';
import type { Address } from './address.js';

/** Something the guest wants to reach. */
export interface Flow {
  readonly proto: 'tcp' | 'udp';
  /** The guest's end. */
  readonly guest: Address;
  readonly guestPort: number;
  /** Where to, as the guest has it. */
  readonly address: Address;
  readonly port: number;
}

/** What is to become of a flow. */
export type Route =
  | { readonly to: 'nowhere' }
  /** An address of the host's network, as text. */
  | { readonly to: 'host'; readonly address: string; readonly port: number }
  | { readonly to: 'stream'; readonly stream: Duplex };

export interface Gate {
  /** Never throws, never rejects: what goes wrong is a no. */
  route(flow: Flow): Route | Promise<Route>;
  /** What the guest may call the host there: names by which it was told the address, and the address where that is allowed. */
  hostsOf(flow: Flow): readonly string[];
  /** Whether lists that have changed still allow it. */
  stillAllows(flow: Flow): boolean;
}
