/**
 * Secrets that a guest uses and never has: it is given placeholders, and requests to the hosts that a secret is for get the value in
 * its place. A placeholder on its way to anybody else is a request that is refused.
 * Runs on: main.
 */
import { randomBytes } from 'node:crypto';
import { parseRule } from '../rule.js';

/** A secret and whom it is for. */
export interface NetSecret {
  /** What replaces the placeholder. */
  readonly value: string;
  /** Names of hosts, `api.example.com` or `*.example.com`. */
  readonly hosts: readonly string[];
}

interface Held {
  readonly placeholder: string;
  readonly value: string;
  readonly isFor: (host: string) => boolean;
}

export class Secrets {
  readonly #held: readonly Held[];
  /** Placeholders by the names of their secrets: for the guest's environment. */
  readonly placeholders: Readonly<Record<string, string>>;

  /** @throws RangeError with the secret's name in front */
  constructor(secrets: Readonly<Record<string, NetSecret>>) {
    const held = Object.entries(secrets).map(([name, { value, hosts }]) => ({
      name,
      ...hold(name, value, hosts),
    }));
    this.#held = held;
    this.placeholders = Object.fromEntries(held.map(({ name, placeholder }) => [name, placeholder]));
  }

  /**
   * A header's value, or a path, as it goes out to `host`.
   * @returns undefined when it has a placeholder that is not for this host
   */
  fill(text: string, host: string): string | undefined {
    if (this.#held.length === 0) return text;
    const basic = /^(Basic\s+)([A-Za-z0-9+/]+=*)$/i.exec(text);
    if (basic) {
      const inner = this.#replace(Buffer.from(basic[2]!, 'base64').toString('latin1'), host);
      return inner === undefined
        ? undefined
        : `${basic[1]}${Buffer.from(inner, 'latin1').toString('base64')}`;
    }
    return this.#replace(text, host);
  }

  #replace(text: string, host: string): string | undefined {
    let filled = text;
    for (const { placeholder, value, isFor } of this.#held) {
      if (!filled.includes(placeholder)) continue;
      if (!isFor(host)) return;
      filled = filled.replaceAll(placeholder, () => value);
    }
    return filled;
  }
}

function hold(name: string, value: unknown, hosts: unknown): Held {
  // A line's end in a header would make another header of what follows.
  if (typeof value !== 'string' || value === '' || /[\r\n\0]/.test(value)) {
    throw new RangeError(`${name}.value: must be a text without line ends`);
  }
  if (!Array.isArray(hosts) || hosts.length === 0)
    throw new RangeError(`${name}.hosts: must name at least one host`);
  const tests = hosts.map((host: unknown, index) => {
    const rule = typeof host === 'string' ? parseRule(host) : undefined;
    if (rule?.host.is !== 'name' || rule.ports || rule.proto) {
      throw new RangeError(`${name}.hosts.${index}: "${String(host)}" is not the name of a host`);
    }
    return rule.host.test;
  });
  return {
    placeholder: `secret-${randomBytes(16).toString('hex')}`,
    value,
    isFor: (host) => tests.some((test) => test(host)),
  };
}
