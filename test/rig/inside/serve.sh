# The rig's machine once it has its root: finishes the system, tells the rig that it is ready, runs one command and reports.
# Ports: 1 control, 2 standard output, 3 standard error, 4 standard input. Control lines, from here: `ready SECONDS`,
# `exit STATUS BYTES-OF-OUTPUT BYTES-OF-ERRORS`, `fail WHY`; to here: the run folder's path, once. Run by busybox sh.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
tools=/.rig

mkdir -p /dev/pts /dev/shm /dev/net /lib/modules /sbin
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=755 run /run
# Nice to have; not every kernel has them.
mount -t cgroup2 cgroup /sys/fs/cgroup 2> /dev/null
mount -t debugfs debug /sys/kernel/debug 2> /dev/null
mount -t tracefs trace /sys/kernel/tracing 2> /dev/null
mkdir -p /run/rig /run/lock
ln -sfn /proc/self/fd /dev/fd
ln -sfn fd/0 /dev/stdin
ln -sfn fd/1 /dev/stdout
ln -sfn fd/2 /dev/stderr

# Nodes that load their driver when somebody opens them; the kernel asks modprobe, and the host's expects other indexes.
node() {
  [ -e "/dev/$1" ] || mknod "/dev/$1" c 10 "$2"
  chmod 666 "/dev/$1"
}
node net/tun 200
node vhost-net 238
node vhost-vsock 241
node fuse 229
node loop-control 237
chmod 666 /dev/kvm
rm -f /sbin/modprobe
printf '#!/.rig/busybox sh\nexec /.rig/busybox modprobe "$@"\n' > /sbin/modprobe
chmod 755 /sbin/modprobe

ip link set lo up
hostname rig
ulimit -n 65536
ulimit -l unlimited
ulimit -c 0

until [ -e /dev/vport0p4 ]; do usleep 10000; done
exec 3<> /dev/vport0p1
read -r uptime _ < /proc/uptime
echo "ready $uptime" >&3
read -r run <&3 || reboot -f # the rig is gone

fail() {
  echo "fail $*" >&3
  exec sleep 1000000
}
sh "$run/setup.sh" > /run/rig/setup.log 2>&1 || fail "preparing the machine: $(tail -n 3 /run/rig/setup.log | tr '\n' ' ')"

mkfifo /run/rig/out /run/rig/err
$tools/stream copy /run/rig/out /dev/vport0p2 > /run/rig/out.bytes 3>&- &
out=$!
$tools/stream copy /run/rig/err /dev/vport0p3 > /run/rig/err.bytes 3>&- &
err=$!
input=/dev/null
[ -e "$run/stdin" ] && input=/dev/vport0p4
set -- sh "$run/command.sh"
if [ -e "$run/tty" ]; then
  read -r rows columns < "$run/tty"
  set -- $tools/stream pty "$rows" "$columns" "$@"
else
  set -- $tools/stream run "$@"
fi
"$@" < $input > /run/rig/out 2> /run/rig/err 3>&- &
wait $!
status=$?

# Output ends when its last writer does, or a second later for what the command left running.
(sleep 1; kill $out $err) 3>&- 2> /dev/null &
wait $out $err
dmesg > "$run/dmesg.log"
sh "$run/flush.sh"
echo "exit $status $(cat /run/rig/out.bytes) $(cat /run/rig/err.bytes)" >&3
exec sleep 1000000
