import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../../src/backends/user-net/address.js';
import { OwnAddresses } from '../../../../src/backends/user-net/own-addresses.js';
import { VirtualClock } from '../../../support/net/virtual-clock.js';

const address = (text: string): Uint8Array => parseAddress(text)!;

describe('the host’s own addresses', () => {
  it('are those of its interfaces, looked up again after a while', () => {
    const clock = new VirtualClock();
    let interfaces: Record<string, { address: string }[]> = {
      eth0: [{ address: '93.184.216.34' }, { address: 'fe80::1%eth0' }],
    };
    let asked = 0;
    const own = new OwnAddresses(clock, () => {
      asked += 1;
      return interfaces;
    });
    expect(['93.184.216.34', 'fe80::1', '93.184.216.35'].map((text) => own.has(address(text)))).toEqual([
      true,
      true,
      false,
    ]);
    expect(asked).toBe(1);
    interfaces = { eth0: [{ address: '93.184.216.35' }] };
    clock.after(6000, () => {});
    clock.advance(6000);
    expect(['93.184.216.34', '93.184.216.35'].map((text) => own.has(address(text)))).toEqual([false, true]);
  });

  it('may be any when the host does not tell', () => {
    const own = new OwnAddresses(new VirtualClock(), () => {
      throw new Error('EPERM');
    });
    expect(own.has(address('93.184.216.34'))).toBe(true);
  });
});
