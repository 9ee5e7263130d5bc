/**
 * Debian's apt loads from a repository on the host's loopback by HTTPS: with the certificate of its network, a password that is filled in
 * on the way, and hashes that it checks; and not without them. OpenSSL's client sees what a name is worth.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { debianImage } from '../support/debian-image.js';
import { guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest, tell } from '../support/guest-test.js';
import { WEB_ADDRESS, WebBench } from '../support/net/web-bench.js';
import { scratch } from '../support/scratch.js';

const PASSWORD = 's3cret of the archive';
const isStock = guestName === 'stock';
/** Systemd boots from it, which only the stock kernel can: there it is at hand. */
const disk = isStock ? await debianImage() : '';
const web = new WebBench();
const folder = scratch();
afterAll(async () => {
  folder[Symbol.dispose]();
  await web[Symbol.asyncDispose]();
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
/** Paragraphs as Debian's files have them. */
const lines = (...all: readonly string[]): Buffer => Buffer.from(`${all.join('\n')}\n`);

/** A repository of one folder: a package, the list of packages, and the hash of that list. */
function repository(): ReadonlyMap<string, Buffer> {
  const tree = folder.path('tree');
  const path = folder.path('parcel.deb');
  mkdirSync(`${tree}/DEBIAN`, { recursive: true });
  const control = [
    'Package: parcel',
    'Version: 1.0',
    'Architecture: all',
    'Maintainer: test',
    'Description: one',
  ];
  writeFileSync(`${tree}/DEBIAN/control`, lines(...control));
  writeFileSync(`${tree}/content`, 'delivered\n');
  execFileSync('dpkg-deb', ['--root-owner-group', '--build', tree, path], { stdio: 'pipe' });
  const deb = readFileSync(path);
  const packages = lines(
    ...control,
    'Filename: ./parcel.deb',
    `Size: ${deb.length}`,
    `SHA256: ${sha256(deb)}`,
  );
  const release = lines(
    `Date: ${new Date().toUTCString()}`,
    'SHA256:',
    ` ${sha256(packages)} ${packages.length} Packages`,
  );
  return new Map(Object.entries({ Release: release, Packages: packages, 'parcel.deb': deb }));
}

describe.runIf(isStock)('Debian', () => {
  beforeAll(async () => {
    await web.listen();
    const files = repository();
    const wanted = `Basic ${Buffer.from(`me:${PASSWORD}`).toString('base64')}`;
    web.respond = ({ url, headers }, response) => {
      const file = files.get(url!.replace('/debian/', ''));
      if (headers.authorization !== wanted) response.writeHead(401).end();
      else if (file) response.end(file);
      else response.writeHead(404).end();
    };
  });

  guestTest('loads by HTTPS what it may, believes the certificate it was given, and is told no other name', {
    config: {
      memory: '512M',
      rng: true,
      disks: [{ source: disk, overlay: 'memory' }],
      net: {
        user: {
          ipv6: false,
          allow: ['tcp:deb.test:443'],
          dns: ({ name }) => (name === 'deb.test' ? [WEB_ADDRESS] : undefined),
          connect: () => ({ address: '127.0.0.1', port: web.ports.https }),
          secrets: { PASSWORD: { value: PASSWORD, hosts: ['deb.test'] } },
          trust: web.authority.pem,
        },
      },
    },
    guest: `
      ip addr add 10.0.2.15/24 dev eth0
      ip link set eth0 up
      ip route add default via 10.0.2.2
      mount -t ext4 /dev/vda /mnt || fail no disk
      for folder in proc sys dev; do mount -o bind /$folder /mnt/$folder; done
      cd /mnt
      rm etc/resolv.conf
      echo nameserver 10.0.2.3 > etc/resolv.conf
      echo 'deb [trusted=yes] https://deb.test/debian ./' > etc/apt/sources.list
      : > var/lib/dpkg/status
      inside() { chroot /mnt /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" > /tmp/said 2>&1 < /dev/null; }
      apt() { inside apt-get -q -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any "$@"; }
      tls() { inside openssl s_client -connect deb.test:443 -CAfile /etc/ca.pem -verify_return_error "$@"; }

      apt update && fail "apt believed a certificate that it was not given: $(cat /tmp/said)"
      grep -qi certificate /tmp/said || fail "$(cat /tmp/said)"
      wget -q -O etc/ca.pem http://10.0.2.3/ || fail no certificate
      cp etc/ca.pem etc/ssl/certs/ca-certificates.crt
      apt update && fail "apt came in without a password: $(cat /tmp/said)"
      echo 'what is the password?'
      read -r password
      echo "machine https://deb.test login me password $password" > etc/apt/auth.conf
      apt update || fail "apt update: $(cat /tmp/said)"
      apt download parcel || fail "apt download: $(cat /tmp/said)"
      inside dpkg-deb -x parcel_1.0_all.deb /tmp/parcel || fail "$(cat /tmp/said)"
      is content "$(cat tmp/parcel/content)" delivered

      tls -servername deb.test -verify_hostname deb.test || fail "$(cat /tmp/said)"
      tls -servername deb.test -verify_hostname other.test && fail "a certificate for another name"
      tls -servername other.test && fail "TLS for another name"
      tls -noservername && fail "TLS for no name"
      true`,
    async host(vm) {
      const { user } = vm.nets.get('net0')!;
      await vm.waitFor('what is the password?', { timeout: GUEST_LIMIT });
      tell(vm, user!.placeholders['PASSWORD']);
    },
    after({ console }) {
      const loaded = web.seen.filter(({ headers }) => headers.authorization !== undefined);
      expect(loaded.map(({ url }) => url)).toEqual(
        expect.arrayContaining(['/debian/Release', '/debian/Packages', '/debian/parcel.deb']),
      );
      expect(console).not.toContain(PASSWORD);
    },
  });
});
