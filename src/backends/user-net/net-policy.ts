/**
 * What decides whom a guest may reach, as an embedder gives it to a user network. The lists and functions are data and callbacks;
 * what they mean is in policy.ts.
 */
import type { Duplex } from 'node:stream';

/** A connection that a guest asks for, as a policy's function sees it. */
export interface NetFlow {
  /** Its protocol. */
  readonly proto: 'tcp' | 'udp';
  /** The name by which the guest learned the address, or `host`, or the address. */
  readonly host: string;
  /** Where it would go. */
  readonly address: string;
  /** The port there. */
  readonly port: number;
  /** All names by which the guest knows the address. */
  readonly names: readonly string[];
  /** The guest's end. */
  readonly guest: { readonly address: string; readonly port: number };
}

/** An answer to a flow: yes or no; somewhere else; or, for TCP, a stream that is the other end. */
export type NetAnswer = boolean | { readonly address: string; readonly port: number } | Duplex;

/** What became of a flow or a name, and why. */
export interface NetDecision {
  /** Yes or no. */
  readonly verdict: 'allow' | 'deny';
  /** What it was about; `dns`: a name was asked for; `http`: a request of a connection that is read. */
  readonly proto: 'tcp' | 'udp' | 'dns' | 'http';
  /** As in `NetFlow`; the name that was asked for. */
  readonly host: string;
  /** None for a name. */
  readonly address: string | undefined;
  /** None for a name. */
  readonly port: number | undefined;
  /** The rule, or what was wrong, for people. */
  readonly reason: string;
  /** What a function threw. */
  readonly error?: unknown;
}

/** A question for the resolver. */
export interface NetQuestion {
  /** Lower case, without a dot at the end. */
  readonly name: string;
  /** `A`, `AAAA`, `TXT` and so on. */
  readonly type: string;
}

/** What a guest's connections must pass. Nothing given: everything public is allowed, nothing else. */
export interface NetPolicy {
  /** Rules one of which must match. */
  readonly allow?: readonly (string | RegExp)[] | undefined;
  /** Rules none of which may match. */
  readonly deny?: readonly (string | RegExp)[] | undefined;
  /** Decides about what the lists allow. */
  readonly connect?: ((flow: NetFlow) => NetAnswer | Promise<NetAnswer>) | undefined;
  /** Addresses for a name; false: there is no such name; undefined: ask the host's resolver. */
  readonly dns?: ((question: NetQuestion) => DnsAnswer | Promise<DnsAnswer>) | undefined;
}

/** What `dns` returns. */
export type DnsAnswer = readonly string[] | false | undefined;
