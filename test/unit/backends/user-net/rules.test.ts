/** What a rule means, and which rules are refused. */
import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../../src/backends/user-net/address.js';
import { kindOf } from '../../../../src/backends/user-net/address-kind.js';
import { matches, parseRule } from '../../../../src/backends/user-net/rule.js';

const subject = (address: string, port = 443, names: string[] = [], proto: 'tcp' | 'udp' = 'tcp') => ({
  proto,
  port,
  address: parseAddress(address),
  names,
  isGateway: false,
});

describe('a rule', () => {
  it.each([
    ['*', subject('1.1.1.1'), true],
    ['*:443', subject('1.1.1.1', 80), false],
    ['*:80-443', subject('1.1.1.1', 443), true],
    ['udp:*:53', subject('1.1.1.1', 53), false],
    ['udp:*:53', subject('1.1.1.1', 53, [], 'udp'), true],
    ['1.1.1.0/24', subject('1.1.1.200'), true],
    ['1.1.1.0/25', subject('1.1.1.200'), false],
    ['1.1.1.1:443', subject('1.1.1.1'), true],
    ['2606:4700::/32', subject('2606:4700::1'), true],
    ['[2606:4700::]/32:443', subject('2606:4700::1'), true],
    ['[2606:4700::1]:80', subject('2606:4700::1'), false],
    ['example.com', subject('1.1.1.1', 443, ['example.com']), true],
    ['Example.COM.', subject('1.1.1.1', 443, ['example.com']), true],
    ['example.com', subject('1.1.1.1', 443, ['www.example.com']), false],
    ['*.example.com', subject('1.1.1.1', 443, ['a.www.example.com']), true],
    ['*.example.com', subject('1.1.1.1', 443, ['example.com']), false],
    ['*.example.com', subject('1.1.1.1', 443, ['badexample.com']), false],
    ['example.com', subject('1.1.1.1'), false],
  ])('%s', (text, what, expected) => {
    expect(matches(parseRule(text), what)).toBe(expected);
  });

  it('may be a regular expression, whose state does not matter', () => {
    const rule = parseRule(/^api\d\.example\.com$/g);
    for (let count = 0; count < 3; count += 1) {
      expect(matches(rule, subject('1.1.1.1', 443, ['api3.example.com']))).toBe(true);
    }
  });

  it.each([
    ['', 'not a name'],
    ['10.0.0.0/40', '0 to 32 bits, not 40'],
    ['10.0.0.1/8', 'the network is 10.0.0.0/8'],
    ['2606:4700::1/32', 'the network is 2606:4700::/32'],
    ['example.com:0', 'no port from 1 to 65535'],
    ['example.com:70000', 'no port'],
    ['example.com:90-80', 'no port'],
    ['example.com:http', 'no port'],
    ['10.0.1', 'not a name'],
    ['010.0.0.1', 'not a name'],
    ['0x7f000001', 'not a name'],
    ['exa mple.com', 'not a name'],
    ['http://example.com', 'no port'],
    ['example.com/path', 'not a name'],
    ['*example.com', 'not a name'],
    ['10.0.0.0/8/8', 'not a name'],
  ])('is not %j', (text, message) => {
    expect(() => parseRule(text)).toThrow(message);
  });
});

describe('an address', () => {
  it.each([
    ['93.184.216.34', 'public'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['0.0.0.0', 'reserved'],
    ['10.1.2.3', 'private'],
    ['172.31.0.1', 'private'],
    ['192.168.0.1', 'private'],
    ['100.100.100.200', 'private'],
    ['169.254.169.254', 'link-local'],
    ['168.63.129.16', 'metadata'],
    ['224.0.0.1', 'multicast'],
    ['255.255.255.255', 'multicast'],
    ['240.0.0.1', 'reserved'],
    ['::1', 'loopback'],
    ['::', 'reserved'],
    ['fe80::1', 'link-local'],
    ['fd00:ec2::254', 'private'],
    ['ff02::1', 'multicast'],
    ['::ffff:127.0.0.1', 'translated'],
    ['::127.0.0.1', 'translated'],
    ['64:ff9b::7f00:1', 'translated'],
    ['64:ff9b:1::7f00:1', 'translated'],
    ['2002:7f00:1::', 'translated'],
    ['2001:0:1::1', 'translated'],
    ['fec0::1', 'reserved'],
    ['2606:4700::1', 'public'],
  ])('%s is %s', (text, kind) => {
    expect(kindOf(parseAddress(text)!)).toBe(kind);
  });
});
