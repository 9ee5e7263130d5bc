import { describe, expect, it } from 'vitest';
import {
  ConfigError,
  HostError,
  KernelError,
  VmmError,
  type VmmErrorCode,
} from '../../../src/base/errors.js';
import { codeOfError, codeOfSignal } from '../../../src/cli/exit-codes.js';
import { UsageError } from '../../../src/cli/usage-error.js';
import { REASON_CODES } from '../../../src/vm/exit-info.js';

describe('the exit code', () => {
  it.each<[string, unknown, number]>([
    ['a wrong command line', new UsageError('x'), 64],
    ['a wrong option', new ConfigError([]), 64],
    ['a damaged kernel', new KernelError('x'), 65],
    ['a missing file', new VmmError('ERR_FILE', 'x'), 66],
    ['a kernel this host cannot run', new KernelError('x', { code: 'ERR_KERNEL_HOST' }), 69],
    ['a system call', new HostError('x'), 70],
    ['a bug', new TypeError('x'), 70],
    ['something thrown that is no error', 'x', 70],
  ])('of %s', (_what, error, code) => expect(codeOfError(error)).toBe(code));

  it.each<VmmErrorCode>(['ERR_KVM_UNAVAILABLE', 'ERR_KVM_PERMISSION', 'ERR_KVM_CAPABILITY'])(
    'of %s',
    (code) => {
      expect(codeOfError(new HostError('x', undefined, undefined, undefined, { code }))).toBe(69);
    },
  );

  it('of a signal is the shell’s', () => {
    expect([codeOfSignal('SIGINT'), codeOfSignal('SIGTERM'), codeOfSignal('SIGHUP')]).toEqual([
      130, 143, 129,
    ]);
  });

  it('of a guest’s end tells a clean one from the others', () => {
    expect(REASON_CODES).toEqual({
      poweroff: 0,
      reboot: 0,
      exit: 0,
      killed: 0,
      panic: 71,
      halted: 72,
      'triple-fault': 72,
      'kvm-error': 72,
      timeout: 124,
      error: 70,
    });
  });
});
