import { describe, expect, it } from 'vitest';
import { baseInitramfs, withOverlay, withScript } from '../../../guest-kernels/initramfs.js';
import { readCpio } from '../../support/cpio-reader.js';

const base = baseInitramfs({
  busybox: Buffer.from('a busybox'),
  modules: [{ type: 'file', path: 'lib/modules/6.1/modules.dep', data: 'dep' }],
  extra: [{ type: 'file', path: 'etc/hostname', data: 'me' }],
});
const entry = (archive: Buffer, path: string) => readCpio(archive).filter((one) => one.path === path);

describe('the initramfs', () => {
  it('has what a kernel and /init need, with the right modes', () => {
    const modes = Object.fromEntries(readCpio(base).map(({ path, mode }) => [path, mode.toString(8)]));
    expect(modes).toMatchObject({
      'dev/console': '20600',
      'dev/null': '20666',
      init: '100755',
      'bin/busybox': '100755',
      'bin/sh': '120777',
      tmp: '41777',
      root: '40700',
      proc: '40755',
    });
    const [console] = entry(base, 'dev/console');
    expect([console!.major, console!.minor]).toEqual([5, 1]);
    expect(entry(base, 'init')[0]!.data.toString()).toMatch(/^#!\/bin\/busybox sh\n/);
    expect(entry(base, 'bin/busybox')[0]!.data.toString()).toBe('a busybox');
  });

  it('takes modules and further files', () => {
    expect(entry(base, 'lib/modules/6.1/modules.dep')[0]!.data.toString()).toBe('dep');
    expect(entry(base, 'etc/hostname')[0]!.data.toString()).toBe('me');
  });

  it('takes an overlay behind it: the later file counts for Linux', () => {
    const archive = withOverlay(base, [{ type: 'file', path: 'init', data: 'mine', mode: 0o755 }]);
    expect(archive.subarray(0, base.length).equals(base)).toBe(true);
    expect(entry(archive, 'init').map(({ data }) => data.length > 4)).toEqual([true, false]);
  });

  it('takes a script to run, with files for it', () => {
    const archive = withScript(base, 'echo hi', [{ type: 'file', path: 'data/x', data: '1' }]);
    expect(entry(archive, 'typevisor/run')[0]!.data.toString()).toBe('echo hi');
    expect(entry(archive, 'data/x')).toHaveLength(1);
  });
});
