/** What `pcap` writes, read by those whom it is for: tcpdump and tshark. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/schema.js';
import { formatMac } from '../../src/devices/net/mac.js';
import { openNets } from '../../src/vm/nets.js';
import { hasProgram } from '../support/has-program.js';
import { type Ends, icmpFrame, ip, tcpFrame, udpFrame } from '../support/net/guest-frames.js';
import { GUEST_MAC, OTHER_MAC, whole } from '../support/net-driver.js';
import { plug } from '../support/plug.js';
import { scratch } from '../support/scratch.js';
import { TestNetwork } from '../support/test-vnet.js';

const folder = scratch();
const path = folder.path('frames.pcapng');
afterAll(() => folder[Symbol.dispose]());

const there: Ends = { fromMac: GUEST_MAC, toMac: OTHER_MAC, from: ip('10.0.2.15'), to: ip('198.51.100.7') };
const back: Ends = { fromMac: OTHER_MAC, toMac: GUEST_MAC, from: there.to, to: there.from };
const QUESTION = [
  1,
  2,
  1,
  0,
  0,
  1,
  0,
  0,
  0,
  0,
  0,
  0,
  4,
  ...Buffer.from('told'),
  4,
  ...Buffer.from('test'),
  0,
  0,
  1,
  0,
  1,
];

/** One card's frames and another's. */
beforeAll(async () => {
  const [first, second] = [new TestNetwork(), new TestNetwork()];
  const net = [{ backend: first, id: 'inside', mac: formatMac(GUEST_MAC) }, { backend: second }];
  const devices = await openNets(parseConfig({ kernel: 'none', net, pcap: path }), () => {});
  const [one, other] = devices.map((device) => plug(device));
  for (const { driver } of [one!, other!]) driver.start();
  one!.driver.queue(1).post([whole(udpFrame(there, 4000, 53, Uint8Array.from(QUESTION)))]);
  one!.driver
    .queue(1)
    .post([whole(tcpFrame(there, { sourcePort: 4001, destinationPort: 80, seq: 7, flags: 'S' }))]);
  one!.driver.queue(0).post([2000]);
  first.receive(tcpFrame(back, { sourcePort: 80, destinationPort: 4001, seq: 1, ack: 8, flags: 'SA' }));
  other!.driver.queue(1).post([whole(icmpFrame(there, 8, 0, new Uint8Array(1400)))]);
  for (const { transport } of [one!, other!]) await transport.close();
});

describe('a capture file', () => {
  it.skipIf(!hasProgram('tcpdump'))('is read by tcpdump, whole and without complaint', () => {
    const text = execFileSync('tcpdump', ['-n', '-t', '-r', path], { encoding: 'utf8', stdio: 'pipe' });
    expect(text.trim().split('\n')).toEqual([
      expect.stringMatching(/^IP 10\.0\.2\.15\.4000 > 198\.51\.100\.7\.53: 258\+ A\? told\.test\./),
      expect.stringMatching(/^IP 10\.0\.2\.15\.4001 > 198\.51\.100\.7\.80: Flags \[S\], seq 7,/),
      expect.stringMatching(/^IP 198\.51\.100\.7\.80 > 10\.0\.2\.15\.4001: Flags \[S\.\], seq 1, ack 8,/),
      expect.stringMatching(/^IP 10\.0\.2\.15 > 198\.51\.100\.7: ICMP echo request, .* length 1404$/),
    ]);
  });

  it.skipIf(!hasProgram('tshark'))('is read by tshark, which knows the cards and the directions', () => {
    const fields = ['frame.interface_name', 'frame.packet_flags_direction', 'frame.protocols', 'frame.len'];
    const args = ['-n', '-r', path, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])];
    const text = execFileSync('tshark', args, { encoding: 'utf8', stdio: 'pipe' });
    expect(
      text
        .trim()
        .split('\n')
        .map((line) => line.split('\t')),
    ).toEqual([
      ['inside', '0x00000002', 'eth:ethertype:ip:udp:dns', '69'],
      ['inside', '0x00000002', 'eth:ethertype:ip:tcp', '54'],
      ['inside', '0x00000001', 'eth:ethertype:ip:tcp', '54'],
      ['net1', '0x00000002', expect.stringMatching(/^eth:ethertype:ip:icmp/), '1438'],
    ]);
  });
});
