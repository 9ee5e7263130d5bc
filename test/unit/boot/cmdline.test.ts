import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/base/errors.js';
import { addParameters, encodeCmdline, hasParameter } from '../../../src/boot/cmdline.js';

describe('hasParameter', () => {
  const line = 'quiet root=/dev/vda ro init="/bin/sh -c echo" i8042.noaux  panic=-1 -- single console=hvc0';

  it.each(['quiet', 'root', 'ro', 'init', 'i8042.noaux', 'panic'])('finds %s', (name) => {
    expect(hasParameter(line, name)).toBe(true);
  });

  it.each(['roo', 'rootfstype', '/dev/vda', 'i8042', 'noaux', '-c', 'echo', ''])(
    'does not find %j',
    (name) => {
      expect(hasParameter(line, name)).toBe(false);
    },
  );

  it('does not look behind --: those words are for init', () => {
    expect(hasParameter(line, 'single')).toBe(false);
    expect(hasParameter(line, 'console')).toBe(false);
    expect(hasParameter('a "--" b', 'b')).toBe(true);
  });

  it('takes dashes and underscores for the same, as the kernel does', () => {
    expect(hasParameter('no_timer_check', 'no-timer-check')).toBe(true);
    expect(hasParameter('percpu-alloc=page', 'percpu_alloc')).toBe(true);
  });

  it('is not fooled by quotes', () => {
    expect(hasParameter('dyndbg="file x +p; quiet"', 'quiet')).toBe(false);
    expect(hasParameter('"dyndbg=file x +p" quiet', 'dyndbg')).toBe(true);
    expect(hasParameter('"dyndbg=file x +p" quiet', 'quiet')).toBe(true);
    expect(hasParameter('a="never closed quiet', 'quiet')).toBe(false);
  });
});

describe('addParameters', () => {
  it('puts words behind the others, and before --', () => {
    expect(addParameters('quiet', ['panic=-1', 'ro'])).toBe('quiet panic=-1 ro');
    expect(addParameters('quiet -- single', ['ro'])).toBe('quiet ro -- single');
    expect(addParameters('-- single', ['ro'])).toBe('ro -- single');
    expect(addParameters('', ['ro'])).toBe('ro');
    expect(addParameters('', [])).toBe('');
  });

  it('keeps blanks in quotes, and only those', () => {
    expect(addParameters(' a="1  2"\t b\n', ['c'])).toBe('a="1  2" b c');
  });
});

describe('encodeCmdline', () => {
  it('ends in a NUL', () => {
    expect([...encodeCmdline('ab')]).toEqual([0x61, 0x62, 0]);
    expect([...encodeCmdline('')]).toEqual([0]);
  });

  it('takes as many bytes as fit, the NUL aside, and not one more', () => {
    expect(encodeCmdline('x'.repeat(2047)).length).toBe(2048);
    expect(() => encodeCmdline('x'.repeat(2048))).toThrow('cmdline: is 2048 bytes long, 2047 fit');
    expect(encodeCmdline('x'.repeat(255), 255).length).toBe(256);
    expect(() => encodeCmdline('x'.repeat(256), 255)).toThrow(ConfigError);
  });

  it('counts bytes, not characters', () => {
    expect(() => encodeCmdline('ä'.repeat(1024))).toThrow('is 2048 bytes long');
    expect(encodeCmdline('ä').length).toBe(3);
  });

  it('refuses a NUL inside', () => {
    expect(() => encodeCmdline('a\0b')).toThrow('contains a NUL character');
  });
});
