/** Every number that tap interfaces take from the kernel's headers, against those headers, by one C program. */
import { describe, expect, it } from 'vitest';
import * as abi from '../../src/host/tun-abi.js';
import { evaluateC } from '../support/compile.js';

const claims = new Map<string, number>();
for (const table of [abi.TUN, abi.IFF, abi.TUN_F, abi.SIO, abi.SOCKET]) {
  for (const [name, value] of Object.entries(table)) claims.set(name, value);
}
for (const [field, offset] of Object.entries(abi.ifreq)) {
  claims.set(field === 'size' ? 'sizeof(struct ifreq)' : `offsetof(struct ifreq, ${field})`, offset);
}
claims.set('IFF_UP', abi.IFF_UP);
claims.set('IFNAMSIZ', abi.IFNAMSIZ);

describe('the declarations for tap interfaces', () => {
  const headers = ['sys/socket.h', 'sys/ioctl.h', 'linux/if.h', 'linux/if_tun.h', 'linux/sockios.h'];
  const actual = evaluateC(headers, [...claims.keys()]);

  it.each([...claims])('%s is %i', (name, value) => {
    // The compiler takes a request for a signed int; the kernel does not.
    expect(Number(actual.get(name)) % 2 ** 32).toBe(value);
  });

  it('are all there', () => {
    expect(claims.size).toBeGreaterThan(25);
  });
});
