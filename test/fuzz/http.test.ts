/**
 * Bytes that a guest sends where HTTP is read: whatever they are, a server is asked only what the policy's function was shown, in that
 * order, for a host that the guest may reach.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import { until } from '../support/net/user-net-bench.js';
import { networkKnowing, WEB_ADDRESS, WebBench } from '../support/net/web-bench.js';
import type { Random } from '../support/random.js';

const web = new WebBench();
beforeAll(() => web.listen());
afterAll(() => web[Symbol.asyncDispose]());

/** What readers of HTTP differ about. */
const PIECES = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  ' ',
  '\t',
  '\0',
  ':',
  ';',
  'Host: two.test\r\n',
  'hOsT : two.test\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding:\x0bchunked\r\n',
  'Content-Length: 7\r\n',
  'Content-Length: -1\r\n',
  'Connection: keep-alive, Host\r\n',
  'Expect: 100-continue\r\n',
  'Upgrade: h2c\r\n',
  '0\r\n\r\n',
  '5\r\nhello\r\n',
  'ffffffffffffffff\r\n',
  'GET http://two.test/ HTTP/1.1\r\n',
  'GET /../%2e%2e/\\x HTTP/1.0\r\n',
  'HTTP/2.0',
];
const REQUESTS = [
  'GET /a?b HTTP/1.1\r\nHost: one.test\r\n\r\n',
  'POST /c HTTP/1.1\r\nHost: one.test\r\nContent-Length: 5\r\n\r\nhello',
  'PUT /d HTTP/1.1\r\nHost: One.Test:80\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
];

/** Some requests, one behind the other, of which most are not quite right. */
function requests(random: Random): string {
  let text = Array.from({ length: 1 + random.below(4) }, () => random.pick(REQUESTS)).join('');
  for (let count = random.below(4); count > 0; count -= 1) {
    const at = random.below(text.length + 1);
    text = text.slice(0, at) + random.pick(PIECES) + text.slice(at + random.below(4));
  }
  return text;
}

describe('a reader of HTTP', () => {
  it('shows everything that it passes on', { timeout: FUZZ_LIMIT }, async () => {
    let passed = 0;
    let refused = 0;
    await fuzz({ rounds: 150, seed: 0x5eed_0480 }, async (random) => {
      const shown: string[] = [];
      web.seen.length = 0;
      await using bench = await networkKnowing(web, ['one.test', 'two.test'], {
        allow: ['one.test'],
        fetch: ({ method, url }) => void shown.push(`${method} ${url}`) as never,
      });
      const connection = bench.guest.connect(WEB_ADDRESS, 80);
      connection.write(Buffer.from(requests(random), 'latin1'));
      connection.end();
      await until(() => connection.state === 'closed', 'the end');
      await until(() => bench.net.stats().tcpConnections === 0, 'its end on this side');
      await web.quiet(); // a request may be on its way
      const asked = web.seen.map(({ method, url, rawHeaders }) => {
        const hosts = rawHeaders.filter((_, at) => at % 2 === 0 && rawHeaders[at]!.toLowerCase() === 'host');
        expect(hosts).toEqual(['Host']);
        return `${method} http://${rawHeaders[1]}${url}`;
      });
      // One that was shown may be cut off on its way; nothing comes that was not, nor out of turn.
      let at = 0;
      for (const one of asked) {
        at = shown.indexOf(one, at) + 1;
        expect(at, `${one} of ${shown.join(', ')}`).toBeGreaterThan(0);
        expect(one).toMatch(/^[A-Z-]+ http:\/\/one\.test\//);
      }
      passed += asked.length;
      refused += bench.decisions.filter(
        ({ verdict, proto }) => verdict === 'deny' && proto === 'http',
      ).length;
    });
    expect(passed).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  });
});
