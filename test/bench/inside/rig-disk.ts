/**
 * rig-disk.ts OUTPUT ROUNDS JOB_MS JOB…: measures fio in guests under our monitor and QEMU in turns, and writes what there is to OUTPUT
 * after every boot. What OUTPUT has already is not measured again.
 * Run inside the rig, whose own file system is memory and has no O_DIRECT: the disks lie in an ext4 file system on a loop device.
 * Runs on: main, in a process of its own.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Progress } from '../../../guest-kernels/progress.js';
import { DISK_JOBS, DiskGuests } from '../disk-guests.js';
import { diskResults, measureAll } from '../guest-disk.js';

const [output = '', rounds = '', jobMs = '', ...jobs] = process.argv.slice(2);
const work = mkdtempSync(join(tmpdir(), 'typevisor-rig-disk-'));
const [image, folder] = [join(work, 'fs'), join(work, 'mount')];
mkdirSync(folder);
execFileSync('truncate', ['-s', '400M', image]);
execFileSync('mke2fs', ['-q', '-t', 'ext4', image]);
execFileSync('mount', ['-o', 'loop', image, folder]);
try {
  const wanted = DISK_JOBS.filter(({ name }) => jobs.includes(name));
  const guests = await DiskGuests.prepare(folder, Number(jobMs), wanted);
  const context = { rounds: Number(rounds), progress: new Progress() };
  await measureAll(guests, context, diskResults(output), (results) => {
    writeFileSync(`${output}.new`, JSON.stringify(results));
    renameSync(`${output}.new`, output);
  });
} finally {
  execFileSync('umount', ['-l', folder]);
}
