import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError, VmmError } from '../../../src/base/errors.js';
import { jsonReporter, textReporter } from '../../../src/cli/reporter.js';
import type { ExitInfo, VmStats } from '../../../src/index.js';

let lines: string[] = [];
beforeEach(() => {
  lines = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    lines.push(...String(text).trimEnd().split('\n'));
    return true;
  });
});
afterEach(() => void vi.restoreAllMocks());

const CRASH = {
  summary: 'the guest triple-faulted',
  registers: ['RIP    0x0000000000100000', 'RFLAGS 0x0000000000000002'],
  instruction: Uint8Array.of(0x0f, 0x0b),
  consoleTail: 'one\ntwo\r\nthree',
};
const STATS = {
  uptimeMs: 12.34,
  phases: { planned: 1.23, started: 4 },
  exits: { page: 10, pio: 200, mmio: 3 },
  addresses: { 'pio 0x3f8 com1': 200 },
  unclaimed: {},
  serial: { bytes: 5, dropped: 0 },
} as unknown as VmStats;

const exit = (info: Partial<ExitInfo>): ExitInfo => ({
  reason: 'exit',
  code: 0,
  message: 'the guest ended',
  ...info,
});

describe('messages for people', () => {
  it('are one line each, with what can be done', () => {
    const report = textReporter({});
    report.notice('something');
    report.error(new VmmError('ERR_FILE', 'kernel: no such file: x'), 66);
    report.error(new VmmError('ERR_FILE', 'kernel: no such file: x', { hint: 'look again' }), 66);
    expect(lines).toEqual([
      'vmm: something',
      'vmm: kernel: no such file: x',
      'vmm: kernel: no such file: x (look again)',
    ]);
  });

  it('name options as flags, all of them in one line', () => {
    const error = new ConfigError([
      { path: 'cpus', message: 'must be at least 1' },
      { path: 'memory.size', message: 'is too little' },
      { path: 'memory.pages', message: 'must be another' },
      { path: 'timeouts.run', message: 'must be longer' },
      { path: 'hostCheck', message: 'must be another' },
      { path: 'firmware', message: 'unknown option' },
      { path: '', message: 'something else' },
    ]);
    textReporter({}).error(error, 64);
    expect(lines).toEqual([
      'vmm: --cpus: must be at least 1; --memory: is too little; --memory pages: must be another; --timeout: must be longer; --host-check: must be another; firmware: unknown option; something else',
    ]);
  });

  it('name options as in the file when there is one', () => {
    const error = new ConfigError([{ path: 'memory.size', message: 'is too little' }]);
    textReporter({ file: 'vm.json' }).error(error, 64);
    expect(lines).toEqual(['vmm: vm.json: memory.size: is too little']);
  });

  it('show where a bug of ours is', () => {
    textReporter({}).error(new TypeError('not a function'), 70);
    textReporter({}).error('thrown', 70);
    expect(lines[0]).toBe('vmm: internal error: TypeError: not a function');
    expect(lines.join('\n')).toContain('reporter.test.ts');
    expect(lines.at(-1)).toBe('vmm: internal error: thrown');
  });

  it('say nothing of a guest that ended as guests do', () => {
    for (const reason of ['poweroff', 'reboot', 'exit', 'killed'] as const) {
      textReporter({}).exit(exit({ reason }), 0, undefined);
    }
    expect(lines).toEqual([]);
  });

  it('say how it ended otherwise, and where', () => {
    const report = textReporter({});
    report.exit(exit({ reason: 'timeout', message: 'the guest ran for 3 s' }), 124, undefined);
    report.exit(
      exit({ reason: 'triple-fault', message: 'the guest triple-faulted', crash: CRASH }),
      72,
      undefined,
    );
    report.exit(exit({ reason: 'panic', message: 'the kernel panicked', crash: CRASH }), 71, undefined);
    expect(lines).toEqual([
      'vmm: the guest ran for 3 s',
      'vmm: the guest triple-faulted at RIP 0x0000000000100000',
      'vmm: the kernel panicked',
    ]);
  });

  it('show registers, code and the console’s end when KVM gave up, or when asked for more', () => {
    const expected = [
      '  RIP    0x0000000000100000',
      '  RFLAGS 0x0000000000000002',
      '  code   0f0b',
      '  the console ends with:',
      '  | one',
      '  | two',
      '  | three',
    ];
    const info = { message: 'KVM could not', hint: 'use another', crash: CRASH };
    textReporter({}).exit(exit({ ...info, reason: 'kvm-error' }), 72, undefined);
    expect(lines).toEqual(['vmm: KVM could not at RIP 0x0000000000100000 (use another)', ...expected]);
    lines = [];
    textReporter({ verbose: true }).exit(exit({ ...info, reason: 'triple-fault' }), 72, undefined);
    expect(lines.slice(1)).toEqual(expected);
  });

  it('show the cause when a device of the monitor failed', () => {
    const error = new VmmError('ERR_VMM_HOST', 'a device failed', { cause: new RangeError('in the device') });
    textReporter({}).exit(exit({ reason: 'error', message: 'a device failed', error }), 70, undefined);
    expect(lines.join('\n')).toContain('RangeError: in the device');
  });

  it('count what happened, the most first', () => {
    textReporter({}).exit(exit({}), 0, STATS);
    expect(lines).toEqual([
      'vmm: phases: planned 1.2 ms, started 4.0 ms; ended 12.3 ms',
      'vmm: exits: pio 200, page 10, mmio 3',
      'vmm: busiest: pio 0x3f8 com1 200',
    ]);
  });
});

describe('messages for programs', () => {
  const parsed = (): unknown[] => lines.map((line) => JSON.parse(line));

  it('are one JSON object a line', () => {
    const report = jsonReporter();
    report.notice('two\nlines');
    report.error(new ConfigError([{ path: 'cpus', message: 'bad' }], { hint: 'x' }), 64);
    report.error(new TypeError('bug'), 70);
    expect(parsed()).toEqual([
      { event: 'notice', message: 'two\nlines' },
      {
        event: 'error',
        code: 'ERR_VMM_CONFIG',
        message: 'cpus: bad',
        hint: 'x',
        issues: [{ path: 'cpus', message: 'bad' }],
        exitCode: 64,
      },
      { event: 'error', code: 'ERR_INTERNAL', message: 'bug', exitCode: 70 },
    ]);
  });

  it('tell every end, with the crash and the counters when there are some', () => {
    const report = jsonReporter();
    report.exit(exit({ reason: 'poweroff' }), 0, undefined);
    report.exit(exit({ reason: 'triple-fault', crash: CRASH }), 72, STATS);
    expect(parsed()).toEqual([
      { event: 'exit', reason: 'poweroff', message: 'the guest ended', exitCode: 0 },
      {
        event: 'exit',
        reason: 'triple-fault',
        message: 'the guest ended',
        exitCode: 72,
        crash: { ...CRASH, instruction: '0f0b' },
        stats: STATS,
      },
    ]);
  });
});
