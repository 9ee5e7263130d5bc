import { describe, expect, it } from 'vitest';
import {
  ConfigError,
  GuestFault,
  HostError,
  KernelError,
  StateError,
  VmmError,
} from '../../../src/base/errors.js';

describe('the error family', () => {
  it.each([
    [new ConfigError([]), 'ConfigError', 'ERR_VMM_CONFIG'],
    [new HostError('x'), 'HostError', 'ERR_VMM_HOST'],
    [
      new HostError('x', 'open', 2, 'ENOENT', { code: 'ERR_KVM_UNAVAILABLE' }),
      'HostError',
      'ERR_KVM_UNAVAILABLE',
    ],
    [new KernelError('x'), 'KernelError', 'ERR_KERNEL_FORMAT'],
    [new KernelError('x', { code: 'ERR_KERNEL_HOST' }), 'KernelError', 'ERR_KERNEL_HOST'],
    [new StateError('stopped', 'running'), 'StateError', 'ERR_VMM_STATE'],
    [new GuestFault('x', 'virtio 1.2 §2.7.5'), 'GuestFault', 'ERR_VMM_GUEST_FAULT'],
  ])('%s is a VmmError with a name and a stable code', (error, name, code) => {
    expect(error).toBeInstanceOf(VmmError);
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe(name);
    expect(error.code).toBe(code);
  });

  it('carries a hint and a cause when there is one', () => {
    const cause = new Error('below');
    const error = new VmmError('ERR_FILE', 'above', { hint: 'do this', cause });
    expect(error).toMatchObject({ message: 'above', hint: 'do this', cause });
    const bare = new VmmError('ERR_FILE', 'above');
    expect(bare.hint).toBeUndefined();
    expect('cause' in bare).toBe(false);
  });

  it('puts every issue of a configuration into one message', () => {
    const issues = [
      { path: 'disks.1.id', message: 'is taken' },
      { path: '', message: 'one of kernel and flat is required' },
    ];
    const error = new ConfigError(issues);
    expect(error.message).toBe('disks.1.id: is taken; one of kernel and flat is required');
    expect(error.issues).toEqual(issues);
  });

  it('names the state a call found and the one it wants', () => {
    const error = new StateError('stopped', 'running');
    expect(error.message).toBe('the VM is stopped, not running');
    expect(error).toMatchObject({ state: 'stopped', wanted: 'running' });
  });

  it('names the rule that the guest broke', () => {
    const fault = new GuestFault('descriptor 9 of 8', 'virtio 1.2 §2.7.5');
    expect(fault.message).toBe('descriptor 9 of 8 (virtio 1.2 §2.7.5)');
    expect(fault.clause).toBe('virtio 1.2 §2.7.5');
  });
});
