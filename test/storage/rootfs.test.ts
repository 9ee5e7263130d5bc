/** Root file systems as their file systems' own tools see them, built by somebody who is not root. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RootfsType } from '../../guest-kernels/rootfs.js';
import { scratch } from '../support/scratch.js';

const ROOT = join(import.meta.dirname, '../..');
const NOBODY = 65_534;
const isRoot = process.getuid!() === 0;
const files = scratch();
afterAll(() => files[Symbol.dispose]());
chmodSync(files.folder, 0o777);

/** Runs as somebody who may neither give files away nor make devices. */
function asNobody(file: string, ...args: readonly string[]): string {
  const drop = ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups', '--'];
  const [command, ...rest] = isRoot ? ['setpriv', ...drop, file, ...args] : [file, ...args];
  const env = {
    ...process.env,
    HOME: files.folder,
    TMPDIR: files.folder,
    TYPEVISOR_CACHE: files.path('cache'),
  };
  return execFileSync(command!, rest, { cwd: ROOT, env, stdio: 'pipe', encoding: 'utf8' });
}

/** The builder in a process of its own. @throws Error with what it said */
function build(source: string, output: string, type: RootfsType, size?: number): void {
  const options = JSON.stringify({ source, output, type, ...(size && { size }) });
  const program = `import('./guest-kernels/rootfs.ts').then(({ buildRootfs }) => buildRootfs(${options}))
    .catch((error) => { console.error(error.name + ': ' + error.message); process.exitCode = 1; });`;
  asNobody(process.execPath, '--import', 'tsx', '-e', program);
}

const mayRead = ((): boolean => {
  try {
    asNobody('test', '-r', 'package.json', '-a', '-x', process.execPath);
    return true;
  } catch {
    return false;
  }
})();

/** One line for each file: mode, owner, group, name, and what a link or device is. */
type Listing = readonly string[];

/** What an archive says; the same for every file system. */
const FROM_TAR: Listing = [
  'd 755 0 0 /dev',
  'c 666 0 0 /dev/null 1,3',
  'd 755 0 0 /etc',
  '- 600 0 0 /etc/shadow',
  'd 750 1000 1000 /home',
  '- 644 1000 1000 /home/notes',
  'd 755 0 0 /sbin',
  '- 4755 0 0 /sbin/su',
  'l 777 0 0 /sbin/init',
].sort();

const FROM_FOLDER: Listing = ['d 755 0 0 /etc', '- 640 0 0 /etc/motd', 'l 777 0 0 /link'].sort();

const KINDS: Readonly<Record<string, string>> = { 4: 'd', 8: '-', 10: 'l', 2: 'c' };

/** By debugfs. */
function listExt4(image: string): Listing {
  execFileSync('e2fsck', ['-f', '-n', image], { stdio: 'pipe' });
  const debugfs = (command: string): string =>
    execFileSync('debugfs', ['-R', command, image], { stdio: 'pipe', encoding: 'utf8' });
  const listed = (folder: string): string[] =>
    debugfs(`ls -p ${folder || '/'}`)
      .split('\n')
      .flatMap((line) => {
        // /inode/mode/uid/gid/name/size/
        const [, , mode, uid, gid, name] = line.split('/');
        if (!name || name === '.' || name === '..' || name === 'lost+found') return [];
        const path = `${folder}/${name}`;
        const bits = Number.parseInt(mode!, 8);
        const kind = KINDS[bits >> 12]!;
        const device =
          kind === 'c'
            ? ` ${/Device major\/minor number: 0*(\d+):0*(\d+)/.exec(debugfs(`stat ${path}`))!.slice(1)}`
            : '';
        const line0 = `${kind} ${(bits & 0o7777).toString(8)} ${uid} ${gid} ${path}${device}`;
        return kind === 'd' ? [line0, ...listed(path)] : [line0];
      });
  return listed('').sort();
}

/** By unsquashfs, or fsck.erofs, which unpack as root what `find` then lists. The latter loses set-uid bits by its last chown. */
function listUnpacked(type: 'squashfs' | 'erofs', image: string): Listing {
  const target = files.path(`unpacked-${type}-${readdirSync(files.folder).length}`);
  const unpack =
    type === 'squashfs'
      ? ['unsquashfs', '-n', '-q', '-d', target, image]
      : ['fsck.erofs', `--extract=${target}`, image];
  const script = `"$@" > /dev/null && cd '${target}' && find . -mindepth 1 -printf '%y %m %U %G /%P\\n' | while read -r line; do
    case $line in c*) echo "$line $(stat -c '%Hr,%Lr' ".\${line##* }")" ;; f*) echo "-\${line#f}" ;; *) echo "$line" ;; esac; done`;
  const [file, ...rest] = [...(isRoot ? [] : ['fakeroot', '--']), 'bash', '-c', script, 'bash', ...unpack];
  return execFileSync(file!, rest, { encoding: 'utf8', stdio: 'pipe' }).trim().split('\n').sort();
}

const list = (type: RootfsType, image: string): Listing =>
  type === 'ext4' ? listExt4(image) : listUnpacked(type, image);

const folder = files.path('folder');
const archive = files.path('root.tar');

beforeAll(() => {
  mkdirSync(join(folder, 'etc'), { recursive: true, mode: 0o755 });
  writeFileSync(join(folder, 'etc/motd'), 'welcome\n', { mode: 0o640 });
  symlinkSync('/etc/motd', join(folder, 'link'));
  if (isRoot) for (const name of ['', 'etc', 'etc/motd']) chownSync(join(folder, name), NOBODY, NOBODY);
  // A tar with what only root could unpack, made by somebody who is not.
  const make = `set -e; umask 022; mkdir '${files.path('t')}'; cd '${files.path('t')}'
    mkdir dev etc home sbin; mknod -m 666 dev/null c 1 3
    echo secret > etc/shadow; chmod 600 etc/shadow
    echo mine > home/notes; chmod 750 home; chown -R 1000:1000 home
    echo su > sbin/su; chmod 4755 sbin/su; ln -s su sbin/init
    tar -cf '${archive}' .; for z in gz:gzip xz:xz zst:zstd; do "\${z#*:}" -c < '${archive}' > '${archive}'."\${z%:*}"; done`;
  asNobody('fakeroot', '--', 'bash', '-c', make);
});

describe.skipIf(!mayRead)('a root file system that nobody in particular builds', () => {
  it.each(['ext4', 'squashfs', 'erofs'] as const)(
    'keeps owners, modes and devices of an archive: %s',
    (type) => {
      const image = files.path(`tar.${type}`);
      build(archive, image, type);
      const lost = type === 'erofs' ? '- 755 ' : '- 4755 ';
      const wanted = FROM_TAR.map((line) => line.replace('- 4755 ', lost)).sort();
      expect(list(type, image)).toEqual(wanted);
    },
  );

  it.each(['ext4', 'squashfs', 'erofs'] as const)("gives a folder's files to root: %s", (type) => {
    const image = files.path(`folder.${type}`);
    build(folder, image, type);
    expect(list(type, image)).toEqual(FROM_FOLDER);
  });

  it.each(['gz', 'xz', 'zst'])('takes an archive that is compressed: %s', (ending) => {
    const image = files.path(`${ending}.ext4`);
    build(`${archive}.${ending}`, image, 'ext4');
    expect(listExt4(image)).toEqual(FROM_TAR);
  });

  it('leaves nothing, and what was there as it was, when the archive is damaged or too large', () => {
    const image = files.path('old.ext4');
    writeFileSync(image, 'an old image');
    const before = readdirSync(files.folder);
    const damaged = files.path('damaged.tar');
    writeFileSync(damaged, 'no archive at all'.repeat(100));
    expect(() => build(damaged, image, 'ext4')).toThrow(/RecipeError: .*tar/s);
    const large = files.path('large');
    mkdirSync(large, { mode: 0o777 });
    writeFileSync(join(large, 'file'), Buffer.alloc(8 * 2 ** 20, 'x'));
    expect(() => build(large, image, 'ext4', 2 * 2 ** 20)).toThrow(/RecipeError: .*mke2fs/s);
    expect(() => build(files.path('none'), image, 'ext4')).toThrow(/none: no such file or folder/);
    expect(execFileSync('cat', [image], { encoding: 'utf8' })).toBe('an old image');
    expect(
      readdirSync(files.folder)
        .filter((name) => !before.includes(name))
        .sort(),
    ).toEqual(['damaged.tar', 'large']);
    expect(existsSync(files.path('.old.ext4'))).toBe(false);
  });
});
