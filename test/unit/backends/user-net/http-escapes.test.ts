/** A guest's attempts to have a request go elsewhere than it was judged for, or be read differently by two readers. */
import { once } from 'node:events';
import { rootCertificates, connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { trusted } from '../../../../src/backends/user-net/http/upstream.js';
import type { UserNetOptions } from '../../../../src/backends/user-net/user-net.js';
import { GuestStream } from '../../../support/net/guest-stream.js';
import { type UserNetBench, until } from '../../../support/net/user-net-bench.js';
import { VirtualClock } from '../../../support/net/virtual-clock.js';
import { get, networkKnowing, sendRaw, WEB_ADDRESS, WebBench } from '../../../support/net/web-bench.js';

const web = new WebBench();
beforeAll(() => web.listen());
afterAll(() => web[Symbol.asyncDispose]());
beforeEach(() => {
  web.seen.length = 0;
  web.respond = undefined;
});

const knowing = (names: readonly string[], options: UserNetOptions = {}): Promise<UserNetBench> =>
  networkKnowing(web, names, { fetch: () => undefined, ...options });
const LAST = 'Connection: close\r\n\r\n';

describe('a request of which two readers could see two', () => {
  it.each([
    [
      'both lengths',
      'Content-Length: 5\r\nTransfer-Encoding: chunked',
      '0\r\n\r\nGET /x HTTP/1.1\r\nHost: one.test',
    ],
    ['a blank before the colon', 'Transfer-Encoding : chunked', '0'],
    ['an encoding nobody knows', 'Transfer-Encoding: xchunked', '0'],
    ['chunks that are not the last encoding', 'Transfer-Encoding: chunked, identity', '0'],
    ['two encodings', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity', '0'],
    ['chunks of something else', 'Transfer-Encoding: gzip, chunked', '0'],
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6', 'hello!'],
    ['a length with a sign', 'Content-Length: +5', 'hello'],
    ['a list of lengths', 'Content-Length: 5, 5', 'hello'],
    ['a header in two lines', 'X: 1\r\n Content-Length: 5', 'hello'],
    ['a second host', 'Host: two.test', ''],
    ['the same host twice', 'Host: one.test', ''],
  ])('is refused: %s', async (_, headers, body) => {
    await using bench = await knowing(['one.test', 'two.test']);
    const answer = await sendRaw(
      bench,
      `POST / HTTP/1.1\r\nHost: one.test\r\n${headers}\r\n\r\n${body}\r\n\r\n`,
    );
    expect(answer).toMatch(/^(HTTP\/1.1 400 |$)/);
    expect(web.seen).toEqual([]);
    expect(bench.decisions.at(-1)).toMatchObject({ verdict: 'deny', proto: 'http' });
  });

  it.each([
    ['lines that end with a line feed alone', 'GET / HTTP/1.1\nHost: one.test\n\n'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a control character', 'GET /\x01 HTTP/1.1\r\nHost: one.test\r\n\r\n'],
    ['another protocol', 'EHLO one.test\r\n'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n'],
    ['no host in HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'],
    [
      'chunks in HTTP/1.0',
      `POST / HTTP/1.0\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['a body of GET', `GET / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 5\r\n${LAST}hello`],
    ['another host as its target', `GET http://two.test/ HTTP/1.1\r\nHost: one.test\r\n${LAST}`],
    ['a tunnel', `CONNECT two.test:443 HTTP/1.1\r\nHost: one.test\r\n${LAST}`],
    ['an echo of its headers', `TRACE / HTTP/1.1\r\nHost: one.test\r\n${LAST}`],
  ])('is refused: %s', async (_, text) => {
    await using bench = await knowing(['one.test', 'two.test']);
    expect(await sendRaw(bench, text)).toMatch(/^(HTTP\/1.1 400 |$)/);
    expect(web.seen).toEqual([]);
  });

  it('is one behind another: each is judged by itself', async () => {
    await using bench = await knowing(['one.test']);
    const to = (host: string, more = ''): string => `GET /${host} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
    const answer = await sendRaw(bench, to('one.test') + to('two.test', 'Connection: close\r\n'));
    expect(answer.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 201', 'HTTP/1.1 421']);
    expect(web.seen.map(({ url }) => url)).toEqual(['/one.test']);
  });
});

describe('what goes on', () => {
  it.each([
    ['dots in its path', '/public/../private?x', '/private?x'],
    ['encoded dots', '/public/%2e%2E/private', '/private'],
    ['backslashes', '/public\\..\\private', '/private'],
    ['two slashes in front', '//two.test/x', '//two.test/x'],
    ['what is no dot', '/a%2Fb/%7e?q=%27', '/a%2Fb/%7e?q=%27'],
  ])('is what the function saw: %s', async (_, path, seen) => {
    const urls: string[] = [];
    await using bench = await knowing(['one.test'], { fetch: ({ url }) => void urls.push(url) as never });
    await sendRaw(bench, `GET ${path} HTTP/1.1\r\nHost: one.test\r\n${LAST}`);
    expect(urls).toEqual([`http://one.test${seen}`]);
    expect(web.seen.map(({ url }) => url)).toEqual([seen]);
  });

  it.each(['One.TEST', 'one.test.', 'one.test:80', 'one.test:', 'ONE.test.:8080'])(
    'has the host in one spelling: %s',
    async (host) => {
      await using bench = await knowing(['one.test']);
      await sendRaw(bench, `GET / HTTP/1.1\r\nhOST: ${host}\r\nX-Mine: yes\r\n${LAST}`);
      expect(web.seen[0]!.rawHeaders.slice(0, 4)).toEqual(['Host', 'one.test', 'X-Mine', 'yes']);
    },
  );

  it('has no header that is for one hop, nor one that is said to be (RFC 9110 §7.6.1)', async () => {
    web.respond = (_, response) =>
      response.writeHead(200, { Connection: 'X-Back', 'X-Back': '1', 'X-Stays': '2' }).end();
    await using bench = await knowing(['one.test']);
    const hop =
      'TE: trailers\r\nProxy-Authorization: x\r\nX-Hop: 1\r\nX-Stays: 2\r\nConnection: x-hop, close';
    const answer = await sendRaw(bench, `GET / HTTP/1.1\r\nHost: one.test\r\n${hop}\r\n\r\n`);
    const names = web.seen[0]!.rawHeaders.filter((_, at) => at % 2 === 0);
    expect(names).toEqual(['Host', 'X-Stays', 'Connection']); // the last one is this side's own
    expect([answer.includes('X-Back'), answer.includes('X-Stays')]).toEqual([false, true]);
  });

  it('does not follow a redirection: the guest is told, and judged anew', async () => {
    web.respond = (_, response) => response.writeHead(302, { Location: 'http://169.254.169.254/' }).end();
    await using bench = await knowing(['one.test']);
    const reply = await get(bench, 'http://one.test/');
    expect([reply.status, reply.headers.location]).toEqual([302, 'http://169.254.169.254/']);
    expect(bench.decisions.filter(({ address }) => address === '169.254.169.254')).toEqual([]);
  });
});

describe('the name of a request', () => {
  it('is that of its certificate: another name of the same address is refused', async () => {
    await using bench = await knowing(['one.test', 'two.test']);
    expect((await get(bench, 'https://one.test/', { host: 'two.test' })).status).toBe(421);
    expect(web.seen).toEqual([]);
  });

  it('may be the address where that is allowed, and not where only a name is', async () => {
    await using open = await knowing(['one.test'], { allow: ['one.test', '93.184.216.0/24'] });
    expect((await get(open, 'http://one.test/', { host: WEB_ADDRESS })).status).toBe(201);
    await using bench = await knowing(['one.test'], { allow: ['one.test'] });
    expect((await get(bench, 'http://one.test/', { host: WEB_ADDRESS })).status).toBe(421);
  });

  it('is not where a function has sent the connection', async () => {
    await using bench = await knowing(['one.test']);
    expect((await get(bench, 'http://one.test/', { host: '127.0.0.1' })).status).toBe(421);
  });

  it.each([
    ['none', undefined, 'TLS without the name of a host'],
    [
      'one that the guest was not told',
      'two.test',
      'TLS for a name by which the guest was not told this address',
    ],
    ['one with a dot behind it', 'one.test.', 'TLS for a name by which the guest was not told this address'],
  ])('has no certificate, and is told, when TLS has %s', async (_, servername, reason) => {
    await using bench = await knowing(['one.test']);
    const raw = new GuestStream(bench.guest.connect(WEB_ADDRESS, 443));
    const stream = tlsConnect({ socket: raw, ...(servername && { servername }), rejectUnauthorized: false });
    await once(stream, 'error');
    await until(() => bench.decisions.at(-1)!.proto === 'http', 'a decision');
    expect(bench.decisions.filter(({ proto }) => proto === 'http')).toMatchObject([
      { verdict: 'deny', reason },
    ]);
  });

  it('is told when the guest and this side cannot agree on how to speak', async () => {
    await using bench = await knowing(['one.test']);
    const raw = new GuestStream(bench.guest.connect(WEB_ADDRESS, 443));
    const old = { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA256' } as const; // wants a certificate of another kind
    const stream = tlsConnect({ socket: raw, servername: 'one.test', ...old });
    await once(stream, 'error');
    await until(() => bench.decisions.at(-1)!.proto === 'http', 'a decision');
    expect(bench.decisions.at(-1)).toMatchObject({
      verdict: 'deny',
      host: 'one.test',
      error: expect.any(Error),
    });
  });
});

describe('HTTP/3', () => {
  it('is refused where requests are to be seen, and only there', async () => {
    for (const [options, flows] of [
      [{ fetch: () => undefined }, 'deny'],
      [{ fetch: undefined }, 'allow'],
    ] as const) {
      await using bench = web.network({ ...options, connect: () => ({ address: '127.0.0.1', port: 9 }) });
      bench.guest.sendUdp(WEB_ADDRESS, 5000, 443, new Uint8Array(1200));
      await until(() => bench.decisions.length === 1, 'a decision');
      expect(bench.decisions[0]).toMatchObject({ verdict: flows, proto: 'udp', port: 443 });
    }
  });
});

describe('a function that never answers', () => {
  it('has failed after 30 s', async () => {
    const clock = new VirtualClock();
    let asked = false;
    await using bench = await knowing(['one.test'], {
      clock,
      fetch: () => {
        asked = true;
        return new Promise(() => {});
      },
    });
    const reply = get(bench, 'http://one.test/');
    await until(() => asked, 'the question');
    clock.advance(29_000);
    expect(bench.decisions.at(-1)).toMatchObject({ verdict: 'allow', proto: 'tcp' });
    clock.advance(2_000);
    expect((await reply).status).toBe(502);
    expect(bench.decisions.at(-1)).toMatchObject({ verdict: 'deny', reason: 'fetch: no answer within 30 s' });
  });
});

describe('the authorities of servers', () => {
  it('are those of Node, and one’s own beside them', () => {
    expect(trusted('mine')).toEqual([...rootCertificates, 'mine']);
  });
});
