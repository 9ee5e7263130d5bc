#!/bin/busybox sh
# /init of Typevisor's guests. It mounts what a shell needs, loads the drivers of the virtio devices it finds, and then does
# one of three things: runs /typevisor/run if an overlay brought one, prints a greeting and ends (typevisor.run=greeting on
# the command line), or greets and gives the console to a shell. When that ends, the machine ends.
# The rule: on a KVM that emulates, a fork costs more than a boot phase should. Built-ins first, then one process for many jobs.

export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root

# A reset through the keyboard controller is how a machine without ACPI says "power off" to its monitor: reboot=k.
end() {
  read -r cmdline < /proc/cmdline
  case " $cmdline" in *' reboot='*) exec reboot -f ;; esac
  poweroff -f || exec reboot -f
}

mount -a # all of /etc/fstab in one process
echo typevisor > /proc/sys/kernel/hostname

if [ -d /lib/modules ]; then
  set -- virtio_mmio
  [ -e /sys/bus/pci/devices/0000:00:00.0 ] && set -- virtio_mmio virtio_pci
  modprobe -a -q "$@"
  set --
  for device in /sys/bus/virtio/devices/*/modalias; do
    [ -e "$device" ] && read -r alias < "$device" && set -- "$@" "$alias"
  done
  [ $# -eq 0 ] || modprobe -a -q "$@"
fi

if [ -e /typevisor/run ]; then
  (. /typevisor/run)
  echo "typevisor: exit $?"
  end
fi

# One process reads everything; it ends with 3 if the greeting was all that was asked for.
awk -f /etc/greeting.awk /proc/cmdline /proc/version /proc/meminfo /proc/cpuinfo /proc/uptime
[ $? -eq 3 ] && end

ip link set lo up &
cd /root
setsid cttyhack sh -l
end
