import { expect, it } from 'vitest';
import { statusFraction } from '../../../guest-kernels/apt-status.js';

it.each([
  ['dlstatus:1:43.2:Retrieving file 1 of 2 (1s remaining)', 0.432],
  ['pmstatus:libc6:100:Installed libc6', 1],
  ['pmstatus:x:0.0:Running dpkg', 0],
  ['pmerror:x:50:broken', undefined],
  ['dlstatus:1:soon:Retrieving', undefined],
  ['dlstatus', undefined],
  ['', undefined],
])('%j tells %s', (line, fraction) => {
  const got = statusFraction(line);
  if (fraction === undefined) expect(got).toBeUndefined();
  else expect(got).toBeCloseTo(fraction);
});
