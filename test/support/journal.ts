/**
 * What a guest does before its machine is ended hard, and how another finds what must be there: scripts for guests whose disk has
 * an ext4 file system.
 */

/** Writes numbered files, each durable before it says so. */
export const JOURNAL = `
  mkdir /tmp/fs && mount -t ext4 /dev/vda /tmp/fs || fail mount
  for n in $(seq 1 100000); do
    seq $n $((n + 2000)) > /tmp/fs/$n
    sha256sum /tmp/fs/$n | cut -c 1-64 > /tmp/fs/$n.sum
    sync /tmp/fs/$n /tmp/fs/$n.sum /tmp/fs 2> /dev/null || sync
    echo "durable $n"
  done`;
/** Finds each of them as it was, up to the one that `durable()` on the command line names, and says `found N`; the disk is whole then. */
export const CHECK = `
  mkdir /tmp/fs && mount -t ext4 /dev/vda /tmp/fs || fail mount
  read -r last < /proc/cmdline; last=\${last##*durable=}; last=\${last%% *}
  n=0
  while [ $n -lt $last ]; do
    n=$((n + 1))
    [ "$(sha256sum < /tmp/fs/$n | cut -c 1-64)" = "$(cat /tmp/fs/$n.sum)" ] || fail "file $n of $last is damaged"
  done
  umount /tmp/fs || fail umount
  echo "found $n"`;

/** For the command line. */
export const durable = (last: number): string => `durable=${last}`;

/** The last number that the console's text says is durable; 0 for none. */
export const lastDurable = (text: string): number =>
  Number([...text.matchAll(/durable (\d+)\r?\n/g)].at(-1)?.[1] ?? 0);
