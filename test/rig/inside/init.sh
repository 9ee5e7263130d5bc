#!/bin/busybox sh
# /init of the rig's machine, in its initramfs: mounts the host's root file system under a writable layer in memory, loads KVM,
# brings up the other CPUs, and goes on in that root with serve.sh.
# The rule: kvm.ko is loaded after the kernel has measured its TSC (it keeps the frequency it sees), and the second CPU comes
# after the idle VMs (no kernel text may be patched under a running CPU).

/bin/busybox mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

# On the console, at a level that `quiet` lets through. The machine ends with its init; the rig prints the console's end.
say() { echo "<3>rig: $*" > /dev/kmsg; }
fail() { say "$*"; sleep 0.1; reboot -f; }
load() {
  while read -r module; do
    insmod "/modules/$module.ko" || fail "cannot load $module"
  done < "/modules/$1"
}

load first
mount -t tmpfs -o size=80%,mode=755 upper /upper || fail 'no memory for the writable layer'
mkdir /upper/files /upper/work
mount -t virtiofs -o ro host /host || fail "cannot mount the host's root"
cp -a /tools /upper/files/.rig
mount -t overlay -o lowerdir=/host,upperdir=/upper/files,workdir=/upper/work root /root || fail 'cannot mount the root'

tries=0
until dmesg | grep -q 'tsc: Refined'; do
  tries=$((tries + 1))
  [ $tries -le 100 ] || fail 'the kernel did not measure its TSC'
  usleep 30000
done
load kvm
/tools/hold vms || fail 'cannot keep the idle VMs'
for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do
  [ -e "$cpu" ] && echo 1 > "$cpu"
done
/tools/hold wake || fail 'cannot keep the CPUs awake'

# The shell finds its applets through /proc, so from here on they are called by name.
for folder in dev sys proc; do
  /bin/busybox mount --move /$folder /root/$folder
done
exec /bin/busybox switch_root /root /.rig/busybox sh /.rig/serve.sh
