/**
 * Who may be reached. In this order, and the first no is final:
 *
 *   1. `deny`: what a rule there matches is refused, also inside of an IPv6 address that stands for an IPv4 one;
 *   2. what is not public (the host, its networks, link-local and metadata addresses, IPv4 inside of IPv6) must be named by an
 *      address in `allow`: names cannot open it, so a name that suddenly points there (DNS rebinding) opens nothing;
 *   3. `allow`, if there is one: a rule there must match;
 *   4. `connect`, if there is one: a function that says yes or no, sends it elsewhere, or answers itself.
 *
 * A function that throws, takes too long or returns nonsense has said no, and why is told.
 * Runs on: main.
 */
import { Duplex } from 'node:stream';
import { ConfigError, type ConfigIssue } from '../../base/errors.js';
import { type Address, formatAddress, parseAddress } from './address.js';
import { embeddedV4, kindOf } from './address-kind.js';
import type { Clock } from './clock.js';
import type { Flow, Gate, Route } from './gate.js';
import { Names } from './names.js';
import type { NetDecision, NetFlow, NetPolicy, NetQuestion } from './net-policy.js';
import {
  isHostName,
  matches,
  names as namesAddress,
  namesExactly,
  parseRule,
  type Rule,
  type Subject,
} from './rule.js';
import { withLimit } from './time-limit.js';

/** How long a function may take to decide. */
const DECISION_MS = 10_000;
/** Where the gateway's address leads. */
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

export interface PolicyPlace {
  readonly clock: Clock;
  /** Whether an address is the gateway's. */
  isGateway(address: Address): boolean;
  /** Whether an address is inside of the guest's own network, where there is nobody but the gateway. */
  isInside(address: Address): boolean;
  /** Whether an address is one of the host's. */
  isOwn(address: Address): boolean;
  /** Whether it is what `fetch` should see and cannot. */
  isUnreadable(flow: Flow): boolean;
  decided(decision: NetDecision): void;
}

type Verdict = { readonly allowed: boolean; readonly reason: string };

export class Policy implements Gate {
  readonly names: Names;
  readonly #place: PolicyPlace;
  #allow: readonly Rule[] | undefined;
  #deny: readonly Rule[] = [];
  #policy: NetPolicy = {};

  /** @throws ConfigError with the path of each entry that is wrong */
  constructor(policy: NetPolicy, place: PolicyPlace) {
    this.#place = place;
    this.names = new Names(place.clock);
    this.update(policy);
  }

  /** Replaces what is given. @throws ConfigError as the constructor does; then nothing was replaced */
  update(policy: NetPolicy): void {
    const issues: ConfigIssue[] = [];
    const allow = 'allow' in policy ? policy.allow && parseList('allow', policy.allow, issues) : this.#allow;
    const deny = 'deny' in policy ? parseList('deny', policy.deny ?? [], issues) : this.#deny;
    for (const key of ['connect', 'dns'] as const) {
      if (policy[key] !== undefined && typeof policy[key] !== 'function') {
        issues.push({ path: key, message: 'must be a function' });
      }
    }
    if (issues.length > 0) throw new ConfigError(issues);
    this.#allow = allow;
    this.#deny = deny;
    this.#policy = { ...this.#policy, ...policy };
  }

  route(flow: Flow): Route | Promise<Route> {
    const subject = this.#subjectOf(flow);
    const seen = this.#seen(flow, subject);
    const { allowed, reason } = this.#judge(subject, flow);
    const { connect } = this.#policy;
    if (!allowed) return this.#deny_(seen, reason);
    if (this.#place.isUnreadable(flow)) return this.#deny_(seen, 'HTTP/3, which cannot be read');
    if (!connect) return this.#send(seen, seen, reason);
    return withLimit(this.#place.clock, DECISION_MS, async () => connect(seen)).then(
      (answer) => this.#follow(seen, answer),
      (error: unknown) => this.#deny_(seen, `connect: ${messageOf(error)}`, error),
    );
  }

  hostsOf(flow: Flow): readonly string[] {
    const subject = this.#subjectOf(flow);
    const allows = (...names: string[]): boolean => this.#judge({ ...subject, names }, flow).allowed;
    const names = subject.names.filter((name) => allows(name));
    // Where only a name is allowed, the address is not another name for it: servers have more pages than one.
    return allows() ? [...names, formatAddress(flow.address)] : names;
  }

  stillAllows(flow: Flow): boolean {
    return this.#judge(this.#subjectOf(flow), flow).allowed;
  }

  /** Whether a name may be asked for at all: what cannot be reached must not be a way to tell something to its name server. */
  mayResolve(name: string): Verdict {
    // The host's resolver would see another name than the rules do: it stops at a zero byte, and folds what only looks like a letter.
    if (name !== '' && !isHostName(name)) return { allowed: false, reason: 'not the name of a host' };
    const subject: Subject = {
      proto: undefined,
      port: undefined,
      address: undefined,
      names: [name],
      isGateway: false,
    };
    const denied = this.#deny.find((rule) => !rule.ports && !rule.proto && matches(rule, subject));
    if (denied) return { allowed: false, reason: `deny: ${denied.text}` };
    if (!this.#allow) return { allowed: true, reason: 'no allow list' };
    const rule = this.#allow.find((one) => matches(one, subject));
    return rule
      ? { allowed: true, reason: `allow: ${rule.text}` }
      : { allowed: false, reason: 'no rule of allow matches' };
  }

  /** Whether the guest may be told that a name has this address. */
  mayTell(name: string, address: Address): boolean {
    const any = { proto: undefined, port: undefined, address, names: [name], isGateway: false };
    return this.#judge(any, { address }).allowed;
  }

  /** Asks the policy's function. @returns undefined when it has nothing to say @throws what it throws, or an Error for nonsense */
  async askDns(question: NetQuestion): Promise<{ addresses: Address[] } | false | undefined> {
    const { dns } = this.#policy;
    if (!dns) return;
    const answer = await withLimit(this.#place.clock, DECISION_MS, async () => dns(question));
    if (answer === undefined || answer === false) return answer;
    const addresses = Array.isArray(answer) ? answer.map((text) => parseAddress(String(text))) : [undefined];
    if (addresses.includes(undefined)) throw new TypeError('returned no list of addresses');
    return { addresses: addresses as Address[] };
  }

  /** Tells of a name that was resolved or not. */
  decidedName(name: string, verdict: 'allow' | 'deny', reason: string, error?: unknown): void {
    const decision = {
      verdict,
      proto: 'dns' as const,
      host: name,
      address: undefined,
      port: undefined,
      reason,
    };
    this.#place.decided(error === undefined ? decision : { ...decision, error });
  }

  #subjectOf({ proto, address, port }: Flow): Subject {
    const isGateway = this.#place.isGateway(address);
    return {
      proto,
      port,
      address: isGateway ? LOOPBACK : address,
      names: isGateway ? [] : this.names.of(address),
      isGateway,
    };
  }

  #seen({ proto, port, guest, guestPort }: Flow, { names, address, isGateway }: Subject): NetFlow {
    const text = formatAddress(address!);
    const host = isGateway ? 'host' : (names[0] ?? text);
    return {
      proto,
      host,
      address: text,
      port,
      names,
      guest: { address: formatAddress(guest), port: guestPort },
    };
  }

  #judge(subject: Subject, { address: asked }: { address: Address }): Verdict {
    const address = subject.address!;
    const inner = embeddedV4(address);
    const denied = this.#deny.find(
      (rule) => matches(rule, subject) || (inner && matches(rule, { ...subject, address: inner })),
    );
    if (denied) return { allowed: false, reason: `deny: ${denied.text}` };
    if (!subject.isGateway && this.#place.isInside(asked))
      return { allowed: false, reason: 'nobody is there' };
    const kind = kindOf(address);
    const own = kind !== 'loopback' && this.#place.isOwn(address);
    if (kind !== 'public' || own) return this.#judgeSpecial(subject, address, own ? "the host's own" : kind);
    if (!this.#allow) return { allowed: true, reason: 'public' };
    const rule = this.#allow.find((one) => matches(one, subject));
    return rule
      ? { allowed: true, reason: `allow: ${rule.text}` }
      : { allowed: false, reason: 'no rule of allow matches' };
  }

  #judgeSpecial(subject: Subject, address: Address, what: string): Verdict {
    const kind = kindOf(address);
    const rule = this.#allow?.find((one) => {
      if (!matches(one, subject)) return false;
      if (one.host.is === 'gateway') return true;
      return what === kind ? namesAddress(one, address, kind) : namesExactly(one, address);
    });
    if (rule) return { allowed: true, reason: `allow: ${rule.text}` };
    return { allowed: false, reason: `a ${what} address, which no rule of allow names` };
  }

  #follow(seen: NetFlow, answer: unknown): Route {
    if (answer === true) return this.#send(seen, seen, 'connect');
    if (answer === false) return this.#deny_(seen, 'connect');
    if (answer instanceof Duplex) {
      if (seen.proto === 'tcp' && !answer.destroyed) {
        this.#tell(seen, 'allow', 'connect: a stream');
        return { to: 'stream', stream: answer };
      }
      answer.destroy();
      return this.#deny_(
        seen,
        `connect: a stream that ${seen.proto === 'udp' ? 'cannot carry UDP' : 'is closed'}`,
      );
    }
    const { address, port } = (answer ?? {}) as { address?: unknown; port?: unknown };
    const isTarget = typeof address === 'string' && parseAddress(address) && isPort(port);
    if (!isTarget)
      return this.#deny_(seen, 'connect: returned neither yes, no, an address and port, nor a stream');
    return this.#send(seen, { address, port }, `connect: ${address} port ${port}`);
  }

  #send(seen: NetFlow, { address, port }: { address: string; port: number }, reason: string): Route {
    this.#tell(seen, 'allow', reason);
    return { to: 'host', address, port };
  }

  #deny_(seen: NetFlow, reason: string, error?: unknown): Route {
    this.#tell(seen, 'deny', reason, error);
    return { to: 'nowhere' };
  }

  #tell(
    { proto, host, address, port }: NetFlow,
    verdict: 'allow' | 'deny',
    reason: string,
    error?: unknown,
  ): void {
    const decision = { verdict, proto, host, address, port, reason };
    this.#place.decided(error === undefined ? decision : { ...decision, error });
  }
}

const isPort = (port: unknown): port is number =>
  typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65_535;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function parseList(key: string, list: readonly (string | RegExp)[], issues: ConfigIssue[]): Rule[] {
  if (!Array.isArray(list)) {
    issues.push({ path: key, message: 'must be a list' });
    return [];
  }
  return list.flatMap((entry: string | RegExp, index) => {
    try {
      return [parseRule(entry)];
    } catch (error) {
      issues.push({ path: `${key}.${index}`, message: messageOf(error) });
      return [];
    }
  });
}
