/**
 * A guest's request, judged and made plain (RFC 9112): what a policy's function sees of it is what goes on, so that no two readers can
 * take it for different requests.
 * Runs on: main.
 */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';

/** Headers of one hop (RFC 9110 §7.6.1), and those that the other side's own request sets. */
const HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const SET_ANEW = new Set(['host', 'content-length']);

/** Why a request goes nowhere, and with which status the guest is told. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    options?: { cause: unknown },
  ) {
    super(message, options);
  }
}

export interface GuestRequest {
  /** The name or address it is for, in lower case: no port, no brackets, no dot at its end. */
  readonly host: string;
  readonly method: string;
  /** Path and query, as `request` has them. */
  readonly path: string;
  /** Those that go on, in their order, as the guest wrote them. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** For a policy's function; its body is the guest's own, which can be read once. */
  readonly request: Request;
}

/** @param hosts what the guest may call the host it has reached @throws Refusal */
export function readRequest(incoming: IncomingMessage, hosts: readonly string[], tls: boolean): GuestRequest {
  const { headers, method = '', url = '' } = incoming;
  const all = headersOf(incoming);
  // Of two, this side believes the first, and another server perhaps the last.
  if (all.filter(([name]) => name.toLowerCase() === 'host').length !== 1)
    throw new Refusal(400, 'not one Host');
  const host = hostOf(headers.host!);
  if (!hosts.includes(host)) throw new Refusal(421, 'asks one host for another'); // RFC 9110 §15.5.20
  const body = bodyOf(incoming);
  const authority = host.includes(':') ? `[${host}]` : host;
  const length = headers['content-length'];
  const kept: [string, string][] = [
    ['Host', authority],
    ...all.filter(([name]) => !SET_ANEW.has(name.toLowerCase())),
    ...(body && length !== undefined ? [['Content-Length', length] as [string, string]] : []),
  ];
  try {
    // Without a port: only the usual ones are read.
    if (!url.startsWith('/')) throw new TypeError('not a path');
    const init = { method, headers: kept, ...(body && { body, duplex: 'half' as const }) };
    // Refuses what no two readers agree on, too: a body of GET or HEAD, TRACE.
    const request = new Request(`${tls ? 'https' : 'http'}://${authority}${url}`, init as RequestInit);
    const { pathname, search } = new URL(request.url);
    return { host, method, path: pathname + search, headers: kept, request };
  } catch (cause) {
    throw new Refusal(400, 'not a request that can be passed on', { cause });
  }
}

/** Headers as they were sent, several of a name among them, without those of one hop: the usual ones, and those it says are. */
export function headersOf({ rawHeaders, headers }: IncomingMessage): [name: string, value: string][] {
  const list: [string, string][] = [];
  const said = new Set(headers.connection?.split(',').map((name) => name.trim().toLowerCase()));
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (isForAll(name) && !said.has(name.toLowerCase())) list.push([name, rawHeaders[at + 1]!]);
  }
  return list;
}

/** Whether a header goes further than one hop. */
export const isForAll = (name: string): boolean => !HOP.has(name.toLowerCase());

const hostOf = (header: string): string =>
  header
    .toLowerCase()
    .replace(/:\d*$/, '')
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');

/** @throws Refusal for a body of which one cannot be sure where it ends (RFC 9112 §6.1) */
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> | undefined {
  const { headers, httpVersion } = incoming;
  const encoding = headers['transfer-encoding'];
  if (encoding !== undefined && (encoding.toLowerCase() !== 'chunked' || httpVersion !== '1.1')) {
    throw new Refusal(400, 'a body of unknown length');
  }
  if (encoding === undefined && Number(headers['content-length'] ?? 0) === 0) return;
  return Readable.toWeb(incoming) as ReadableStream<Uint8Array>;
}
