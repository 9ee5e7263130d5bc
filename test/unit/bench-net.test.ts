/** What the network benchmarks make of what a guest's programs print. */
import { describe, expect, it } from 'vitest';
import { bootsOf } from '../bench/benchmark.js';
import { NET_JOBS, netScript, portOf } from '../bench/net-jobs.js';

const read = (name: string, said: string): number => NET_JOBS.find((job) => job.name === name)!.read(said);

describe('the network benchmarks', () => {
  it('read what arrived, over TCP and UDP', () => {
    const tcp = { end: { sum_received: { bits_per_second: 8 * 2 ** 20, seconds: 1 } } };
    expect(read('tcp-out', JSON.stringify(tcp))).toBe(1e6);
    const udp = {
      end: { sum_received: { bits_per_second: 1, seconds: 2, packets: 300, lost_packets: 100 } },
    };
    expect(read('udp-in', `warning: ${JSON.stringify(udp)}`)).toBe(10_000);
  });

  it('read round trips and connections', () => {
    expect(read('ping', '4 packets received round-trip min/avg/max = 0.1/0.25/0.9 ms')).toBe(250);
    expect(read('connections', '40 connections in 2000 us')).toBe(50);
  });

  it.each([
    ['tcp-in', '{"error": "unable to connect"}', 'unable to connect'],
    ['tcp-in', 'Killed', 'iperf3 says: Killed'],
    ['tcp-in', '{"end":{}}', 'nothing arrived'],
    [
      'udp-out',
      '{"end":{"sum_received":{"packets":5,"lost_packets":5,"seconds":1}}}',
      'of 5 datagrams 5 were lost',
    ],
    ['ping', '', 'it said nothing'],
  ])('say why %s measured nothing: %s', (name, said, why) => {
    expect(() => read(name, said)).toThrow(why);
  });

  it('give each job a server of its own, and run every job', () => {
    expect(new Set(NET_JOBS.map(portOf)).size).toBe(NET_JOBS.length);
    for (const { name } of NET_JOBS) expect(netScript(1)).toContain(`run ${name} `);
  });

  it('boot a fifth as often as others measure', () => {
    expect([3, 15, 100].map((rounds) => bootsOf({ rounds }, 3))).toEqual([1, 3, 3]);
  });
});
