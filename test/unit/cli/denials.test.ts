import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { reportDenials } from '../../../src/cli/denials.js';
import type { NetDecision, VirtualMachine } from '../../../src/index.js';

const denied: NetDecision = {
  verdict: 'deny',
  proto: 'tcp',
  host: 'a.test',
  address: '192.0.2.1',
  port: 80,
  reason: 'no rule of allow matches',
};

function watched() {
  const user = new EventEmitter<{ decision: [NetDecision] }>();
  const lines: string[] = [];
  const vm = {
    nets: new Map([
      ['net0', { user }],
      ['net1', { user: undefined }],
    ]),
  };
  reportDenials(vm as unknown as Pick<VirtualMachine, 'nets'>, { notice: (line) => lines.push(line) });
  return { lines, tell: (more: Partial<NetDecision> = {}) => user.emit('decision', { ...denied, ...more }) };
}

describe('what a policy refuses', () => {
  it('is told once for each destination, with the reason', () => {
    const { lines, tell } = watched();
    tell();
    tell();
    tell({ verdict: 'allow', port: 81 });
    tell({ proto: 'udp', host: '2001:db8::1', address: '2001:db8::1', port: 53 });
    tell({ proto: 'dns', host: 'b.test', address: undefined, port: undefined, reason: 'deny: b.test' });
    expect(lines).toEqual([
      'net0: refused tcp a.test at 192.0.2.1:80: no rule of allow matches',
      'net0: refused udp [2001:db8::1]:53: no rule of allow matches',
      'net0: refused dns b.test: deny: b.test',
    ]);
  });

  it('has an end, which is told', () => {
    const { lines, tell } = watched();
    for (let port = 1; port < 100; port += 1) tell({ port });
    expect(lines).toHaveLength(33);
    expect(lines.at(-1)).toBe('the guest is refused more than is told here');
  });

  it('cannot play with the terminal, nor fill a line without end', () => {
    const { lines, tell } = watched();
    tell({ proto: 'dns', host: `\u001b[2J\n${'x'.repeat(300)}`, address: undefined, port: undefined });
    expect(lines[0]).toMatch(/^net0: refused dns \?\[2J\?x{95}: no rule/);
  });
});
