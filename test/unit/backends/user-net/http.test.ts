/** A guest's HTTP and HTTPS under a policy's function: answered, passed on, refused; certificates; secrets that a guest never has. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secrets } from '../../../../src/backends/user-net/http/secrets.js';
import type { UserNetOptions } from '../../../../src/backends/user-net/user-net.js';
import { GuestStream } from '../../../support/net/guest-stream.js';
import { resolveName, type UserNetBench, until, userNet } from '../../../support/net/user-net-bench.js';
import { get, WEB_ADDRESS, WebBench } from '../../../support/net/web-bench.js';

const web = new WebBench();
const { authority, seen } = web;
beforeAll(() => web.listen());
afterAll(() => web[Symbol.asyncDispose]());

const reading = (options: UserNetOptions): UserNetBench => web.network(options);
const resolve = resolveName;

describe.each(['http', 'https'])('%s', (scheme) => {
  const url = `${scheme}://one.test/path?x=1`;

  it('is shown to the function, which answers', async () => {
    const requests: [string, string, string, string][] = [];
    await using bench = reading({
      fetch: async (request, { tls }) => {
        expect(tls).toBe(scheme === 'https');
        requests.push([request.method, request.url, request.headers.get('x-mine')!, await request.text()]);
        return new Response('answered', { status: 418, headers: { 'x-by': 'policy' } });
      },
    });
    await resolve(bench, 'one.test');
    const reply = await get(bench, url, { method: 'POST', body: 'data', headers: { 'X-Mine': 'yes' } });
    expect(requests).toEqual([['POST', url, 'yes', 'data']]);
    expect(reply).toMatchObject({ status: 418, body: 'answered', headers: { 'x-by': 'policy' } });
    expect(bench.decisions.at(-1)).toMatchObject({ verdict: 'allow', proto: 'http', host: 'one.test' });
  });

  it('is passed on when the function says nothing, body and headers and all', async () => {
    await using bench = reading({ fetch: () => undefined });
    await resolve(bench, 'one.test');
    seen.length = 0;
    const body = 'x'.repeat(100_000);
    const reply = await get(bench, url, {
      method: 'PUT',
      body,
      headers: { 'X-Mine': 'yes', TE: 'trailers' },
    });
    expect(reply).toMatchObject({ status: 201, body: 'hello from one.test' });
    expect(reply.headers).toMatchObject({ 'x-from': 'server', 'set-cookie': ['a=1', 'b=2'] });
    expect(seen).toMatchObject([
      { method: 'PUT', url: '/path?x=1', body, headers: { host: 'one.test', 'x-mine': 'yes' } },
    ]);
    expect(seen[0]!.headers.te).toBeUndefined();
  });

  it('for a name that was not asked for is refused', async () => {
    await using bench = reading({ fetch: () => undefined });
    await resolve(bench, 'one.test');
    seen.length = 0;
    expect((await get(bench, url, { host: 'two.test' })).status).toBe(421);
    expect(seen).toEqual([]);
    expect(bench.decisions.at(-1)).toMatchObject({ verdict: 'deny', proto: 'http', host: 'two.test' });
  });

  it('that a rule allows by one name does not reach another name of the same address', async () => {
    await using bench = reading({ allow: ['one.test'], fetch: () => undefined });
    await resolve(bench, 'one.test');
    await resolve(bench, 'two.test');
    expect((await get(bench, url)).status).toBe(201);
    expect((await get(bench, url, { host: 'two.test' })).status).toBe(421);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('broken');
      },
      'fetch: broken',
    ],
    ['returns nonsense', () => 'hello' as never, 'fetch: returned neither'],
    [
      'reads the body and returns nothing',
      async (request: Request) => void (await request.text()) as never,
      'fetch: read the body',
    ],
  ])('fails when the function %s', async (_, fetch, reason) => {
    await using bench = reading({ fetch });
    await resolve(bench, 'one.test');
    seen.length = 0;
    expect((await get(bench, url, { method: 'POST', body: 'x' })).status).toBe(502);
    expect(seen).toEqual([]);
    expect(bench.decisions.at(-1)).toMatchObject({
      verdict: 'deny',
      reason: expect.stringContaining(reason),
    });
  });
});

describe('https', () => {
  it('to a server whose certificate nobody trusts is refused', async () => {
    await using bench = reading({ fetch: () => undefined, trust: undefined });
    await resolve(bench, 'one.test');
    seen.length = 0;
    expect((await get(bench, 'https://one.test/')).status).toBe(502);
    expect(seen).toEqual([]);
  });

  it('with a name by which the guest was not told the address gets no certificate', async () => {
    await using bench = reading({ fetch: () => undefined });
    await resolve(bench, 'one.test');
    await expect(get(bench, 'https://two.test/')).rejects.toThrow();
    expect(bench.decisions.at(-1)).toMatchObject({ verdict: 'deny', proto: 'http', host: 'two.test' });
  });

  it('is not read when there is neither function nor secret', async () => {
    await using bench = reading({});
    expect(await bench.net.certificate()).toBeUndefined();
    const raw = new GuestStream(bench.guest.connect(WEB_ADDRESS, 443));
    const stream = tlsConnect({ socket: raw, servername: 'one.test', ca: authority.pem });
    await once(stream, 'secureConnect'); // the server's own certificate
    stream.destroy();
  });
});

describe('a secret', () => {
  const secrets = { KEY: { value: 's3cret', hosts: ['one.test'] } };

  it('goes to its host over HTTPS in the place of what the guest has, in headers and in basic authentication', async () => {
    const urls: string[] = [];
    await using bench = reading({
      secrets,
      fetch: (request) => void urls.push(request.headers.get('authorization')!) as never,
    });
    await resolve(bench, 'one.test');
    const { KEY } = bench.net.placeholders;
    seen.length = 0;
    expect(
      (await get(bench, 'https://one.test/', { headers: { Authorization: `Bearer ${KEY}` } })).status,
    ).toBe(201);
    const basic = Buffer.from(`user:${KEY}`).toString('base64');
    await get(bench, `https://one.test/?key=${KEY}`, { headers: { Authorization: `Basic ${basic}` } });
    expect(seen.map(({ headers, url }) => [headers.authorization, url])).toEqual([
      ['Bearer s3cret', '/'],
      [`Basic ${Buffer.from('user:s3cret').toString('base64')}`, '/?key=s3cret'],
    ]);
    expect(urls.join()).not.toContain('s3cret');
  });

  it('goes nowhere else: not to another host, and not in the clear', async () => {
    await using bench = reading({ secrets });
    for (const name of ['one.test', 'two.test']) await resolve(bench, name);
    const headers = { 'X-Key': bench.net.placeholders['KEY']! };
    seen.length = 0;
    expect((await get(bench, 'https://two.test/', { headers })).status).toBe(403);
    expect((await get(bench, 'http://one.test/', { headers })).status).toBe(403);
    expect(seen).toEqual([]);
    expect(bench.decisions.at(-1)).toMatchObject({ verdict: 'deny', proto: 'http' });
  });

  it.each([
    [{ KEY: { value: '', hosts: ['a.test'] } }, 'secrets.KEY.value: '],
    [{ KEY: { value: 'a\r\nX: y', hosts: ['a.test'] } }, 'secrets.KEY.value: '],
    [{ KEY: { value: 'a', hosts: [] } }, 'secrets.KEY.hosts: '],
    [{ KEY: { value: 'a', hosts: ['10.0.0.1'] } }, 'secrets.KEY.hosts.0: '],
    [{ KEY: { value: 'a', hosts: ['a.test:80'] } }, 'secrets.KEY.hosts.0: '],
  ])('%j is refused by name', (wrong, message) => {
    expect(() => userNet({ secrets: wrong })).toThrow(message);
  });

  it('has a placeholder that cannot be guessed, and `$&` in it means nothing', () => {
    const one = new Secrets({ A: { value: '$&$1', hosts: ['a.test'] } });
    expect(one.placeholders['A']).toMatch(/^secret-[0-9a-f]{32}$/);
    expect(one.fill(`x ${one.placeholders['A']}`, 'a.test')).toBe('x $&$1');
  });
});

describe('certificates', () => {
  it('are of an authority, for one name, and sound', () => {
    const root = new X509Certificate(authority.pem);
    const leaf = new X509Certificate(authority.certificateFor('www.one.test'));
    expect(root.ca).toBe(true);
    expect([leaf.ca, leaf.checkIssued(root), leaf.verify(root.publicKey)]).toEqual([false, true, true]);
    expect(leaf.checkHost('www.one.test')).toBe('www.one.test');
    expect(leaf.checkHost('one.test')).toBeUndefined();
    expect(new Date(leaf.validTo).getTime()).toBeGreaterThan(Date.now() + 300 * 86_400_000);
    expect(new Date(leaf.validFrom).getTime()).toBeLessThan(Date.now());
  });

  it('are made for a long name, and kept for a limited number of names', () => {
    const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.test`;
    expect(new X509Certificate(authority.certificateFor(long)).checkHost(long)).toBe(long);
    expect(authority.contextFor('kept.test')).toBe(authority.contextFor('kept.test'));
  });

  it('are at hand for the guest at the resolver’s port 80', async () => {
    await using bench = reading({ fetch: () => undefined });
    const connection = bench.guest.connect('10.0.2.3', 80);
    let text = '';
    connection.onData = (bytes) => {
      text += Buffer.from(bytes).toString();
    };
    connection.write(Buffer.from('GET / HTTP/1.0\r\n\r\n'));
    await until(() => connection.ended, 'the end');
    expect(text).toMatch(/^HTTP\/1.0 200 OK\r\n/);
    expect(text.endsWith((await bench.net.certificate())!)).toBe(true);
  });
});
