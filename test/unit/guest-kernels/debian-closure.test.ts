/** What apt's simulation says of the packages it would install. */
import { expect, it } from 'vitest';
import { plannedPackages } from '../../../guest-kernels/debian-closure.js';

it('is read line by line, in order', () => {
  const plan = `NOTE: This is only a simulation!
Reading package lists...
The following NEW packages will be installed:
  bash libc6
Inst gcc-12-base (12.2.0-14+deb12u1 Debian:12.12/oldstable [amd64]) []
Inst libc6:amd64 (2.36-9+deb12u13 Debian:12.12/oldstable, Debian-Security:12/oldstable-security [amd64]) [libc6:amd64 ]
Inst bash [5.2.15-1] (5.2.15-2+b13 Debian:12.12/oldstable [amd64])
Conf bash (5.2.15-2+b13 Debian:12.12/oldstable [amd64])
`;
  expect(plannedPackages(plan)).toEqual([
    { name: 'gcc-12-base', version: '12.2.0-14+deb12u1' },
    { name: 'libc6', version: '2.36-9+deb12u13' },
    { name: 'bash', version: '5.2.15-2+b13' },
  ]);
});

it('may be nothing', () => {
  expect(plannedPackages('bash is already the newest version (5.2.15-2+b13).\n')).toEqual([]);
});
