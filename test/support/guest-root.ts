/** A root file system for tests, as a folder: the guest's own busybox, and an init that is a script. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCpio } from './cpio-reader.js';
import { guest } from './guest.js';

/** Fills an empty folder. @param init what /sbin/init does with proc, sysfs and devtmpfs mounted; then the machine ends */
export function fillRoot(folder: string, init: string): void {
  for (const name of ['bin', 'sbin', 'dev', 'proc', 'sys', 'tmp', 'etc']) mkdirSync(join(folder, name));
  const busybox = readCpio(readFileSync(guest.initrd)).find(({ path }) => path === 'bin/busybox')!.data;
  writeFileSync(join(folder, 'bin/busybox'), busybox, { mode: 0o755 });
  symlinkSync('busybox', join(folder, 'bin/sh'));
  const script = `#!/bin/sh
export PATH=/bin:/sbin
for fs in proc:/proc sysfs:/sys devtmpfs:/dev; do
  grep -q " \${fs#*:} " /proc/mounts 2> /dev/null || /bin/busybox mount -t "\${fs%:*}" "\${fs%:*}" "\${fs#*:}"
done
(${init}
)
echo "root: exit $?"
sync
[ -d /sys/firmware/acpi ] && exec poweroff -f
exec reboot -f
`;
  writeFileSync(join(folder, 'sbin/init'), script, { mode: 0o755 });
}
