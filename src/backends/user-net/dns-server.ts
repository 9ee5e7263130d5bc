/**
 * The resolver that the guest is given (RFC 1035 over UDP and TCP): questions go to the policy, then to the host's resolver. Addresses
 * that the policy would not let the guest reach are left out of answers, and those told are remembered by name.
 * Runs on: main.
 */
import {
  type Answer,
  decode,
  encode,
  type Packet,
  RECURSION_AVAILABLE,
  TRUNCATED_RESPONSE,
} from 'dns-packet';
import { type Address, formatAddress, isV6 } from './address.js';
import { HostResolver, NoSuchName } from './host-resolver.js';
import type { Policy } from './policy.js';

/** Questions under way; more are not answered, and a guest asks again. */
const MAX_QUESTIONS = 64;
/** Seconds. The system's resolver does not say how long an address holds. */
const TTL = 30;
const RCODE = { OK: 0, FORMAT: 1, FAILED: 2, NO_NAME: 3, NOT_IMPLEMENTED: 4, REFUSED: 5 } as const;
/** RFC 1035 §4.2.1, and what EDNS may raise it to here: what needs no fragments on any link of IPv6. */
const MAX_UDP = 512;
const MAX_EDNS = 1232;
/** Kinds of records beside addresses that Node can ask for. */
const TYPES = new Set(['CAA', 'CNAME', 'MX', 'NAPTR', 'NS', 'PTR', 'SOA', 'SRV', 'TXT']);

export class DnsServer {
  readonly #policy: Policy;
  readonly #resolver = new HostResolver();
  #open = 0;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /**
   * Answers a message.
   * @param most bytes of an answer over UDP when the guest does not say more; undefined: over TCP
   * @returns undefined for what deserves no answer
   */
  async answer(message: Uint8Array, overUdp: boolean): Promise<Uint8Array | undefined> {
    const query = decodeQuery(message);
    if (!query || this.#open >= MAX_QUESTIONS) return;
    this.#open += 1;
    try {
      const { code, answers = [] } = await this.#resolve(query);
      return encodeAnswer(query, code, answers, overUdp);
    } catch {
      return encodeAnswer(query, RCODE.FAILED, [], overUdp); // an answer that cannot be put into bytes
    } finally {
      this.#open -= 1;
    }
  }

  close(): void {
    this.#resolver.close();
  }

  async #resolve({
    opcode,
    questions = [],
  }: Packet & { opcode?: string }): Promise<{ code: number; answers?: Answer[] }> {
    const [question] = questions;
    if (opcode !== undefined && opcode !== 'QUERY') return { code: RCODE.NOT_IMPLEMENTED };
    if (questions.length !== 1 || !question) return { code: RCODE.FORMAT };
    if (question.class !== undefined && question.class !== 'IN') return { code: RCODE.NOT_IMPLEMENTED };
    const name = question.name.toLowerCase().replace(/\.$/, '');
    const { allowed, reason } = this.#policy.mayResolve(name);
    if (!allowed) {
      this.#policy.decidedName(name, 'deny', reason);
      return { code: RCODE.REFUSED };
    }
    try {
      return await this.#find(name, question.name, question.type);
    } catch (error) {
      if (error instanceof NoSuchName) return { code: RCODE.NO_NAME };
      return { code: RCODE.FAILED };
    }
  }

  async #find(name: string, asked: string, type: string): Promise<{ code: number; answers?: Answer[] }> {
    const own = await this.#policy.askDns({ name, type }).catch((error: unknown) => {
      this.#policy.decidedName(name, 'deny', 'dns: failed', error);
      throw error;
    });
    if (own === false) {
      this.#policy.decidedName(name, 'deny', 'dns');
      return { code: RCODE.NO_NAME };
    }
    if (type === 'A' || type === 'AAAA') {
      const all = own ? own.addresses : await this.#filter(name, await this.#resolver.addresses(name));
      const fit = all.filter((address) => isV6(address) === (type === 'AAAA'));
      for (const address of fit) this.#policy.names.tell(name, address);
      const answers = fit.map(
        (address) => ({ type, name: asked, ttl: TTL, data: formatAddress(address) }) as Answer,
      );
      return { code: RCODE.OK, answers };
    }
    if (own || !TYPES.has(type)) return { code: RCODE.OK }; // no such record, but the name may well exist
    const records = await this.#resolver.records(name, type);
    const answers = records.slice(0, 100).flatMap((record) => toAnswer(asked, type, record) ?? []);
    return { code: RCODE.OK, answers };
  }

  /** Without what the guest could not reach; with none left, the name leads nowhere it may go. */
  async #filter(name: string, addresses: readonly Address[]): Promise<Address[]> {
    const told = addresses.filter((address) => this.#policy.mayTell(name, address));
    if (told.length === 0 && addresses.length > 0) {
      const where = addresses.map(formatAddress).join(', ');
      this.#policy.decidedName(name, 'deny', `leads to ${where}, which may not be reached`);
      throw new NoSuchName(name);
    }
    return told;
  }
}

function decodeQuery(message: Uint8Array): (Packet & { opcode?: string }) | undefined {
  if (message.length < 12) return;
  try {
    const query = decode(Buffer.from(message)) as Packet & { opcode?: string };
    return query.type === 'query' ? query : undefined;
  } catch {
    return; // not a message
  }
}

function encodeAnswer(query: Packet, code: number, answers: Answer[], overUdp: boolean): Uint8Array {
  const edns = query.additionals?.find((record) => record.type === 'OPT') as
    | { udpPayloadSize?: number }
    | undefined;
  const reply: Packet = {
    type: 'response',
    id: query.id ?? 0,
    flags: RECURSION_AVAILABLE | ((query.flags ?? 0) & 0x0100) | code, // recursion desired is copied
    questions: query.questions?.slice(0, 1) ?? [],
    answers,
  };
  if (edns) {
    const opt = {
      type: 'OPT',
      name: '.',
      udpPayloadSize: MAX_EDNS,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
    };
    reply.additionals = [{ ...opt, flag_do: false, options: [] } as unknown as Answer];
  }
  const bytes = encode(reply);
  const most = Math.min(Math.max(edns?.udpPayloadSize ?? 0, MAX_UDP), MAX_EDNS);
  if (!overUdp || bytes.length <= most) return bytes;
  return encode({ ...reply, flags: reply.flags! | TRUNCATED_RESPONSE, answers: [] });
}

/** A record as Node has it, for dns-packet. */
function toAnswer(name: string, type: string, record: unknown): Answer | undefined {
  const base = { name, type, ttl: TTL };
  switch (type) {
    case 'MX': {
      const { exchange, priority } = record as { exchange: string; priority: number };
      return { ...base, data: { exchange, preference: priority } } as Answer;
    }
    case 'SRV': {
      const { name: target, ...rest } = record as {
        name: string;
        port: number;
        priority: number;
        weight: number;
      };
      return { ...base, data: { ...rest, target } } as Answer;
    }
    case 'SOA': {
      const soa = record as Record<'nsname' | 'hostmaster', string> &
        Record<'serial' | 'refresh' | 'retry' | 'expire' | 'minttl', number>;
      const { nsname: mname, hostmaster: rname, minttl: minimum, serial, refresh, retry, expire } = soa;
      return { ...base, data: { mname, rname, serial, refresh, retry, expire, minimum } } as Answer;
    }
    case 'CAA': {
      const { critical, ...rest } = record as { critical: number } & Record<string, string>;
      const [tag, value] = Object.entries(rest)[0] ?? [];
      return tag ? ({ ...base, data: { flags: critical, tag, value } } as unknown as Answer) : undefined;
    }
    default: // TXT is a list of texts, the others are a text or a record of the library's own shape
      return { ...base, data: record } as Answer;
  }
}
