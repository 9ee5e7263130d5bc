#!/bin/busybox sh
# /init of Typevisor's guests. It mounts what a shell needs, loads the drivers of the virtio devices it finds, and then does
# one of four things: runs /typevisor/run if an overlay brought one, gives the machine to the root file system that root= on
# the command line names, prints a greeting and ends (typevisor.run=greeting), or greets and gives the console to a shell.
# When what it ran ends, the machine ends.
# The rule: on a KVM that emulates, a fork costs more than a boot phase should. Built-ins first, then one process for many jobs.

export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root

# A reset through the keyboard controller is how a machine without ACPI says "power off" to its monitor: reboot=k.
end() {
  [ -d /sys/firmware/acpi ] && exec poweroff -f
  read -r cmdline < /proc/cmdline
  case " $cmdline" in *' reboot='*) exec reboot -f ;; esac
  poweroff -f || exec reboot -f
}

# The shell runs its applets through /proc/self/exe, which is not there yet.
/bin/busybox mount -a # all of /etc/fstab in one process
echo typevisor > /proc/sys/kernel/hostname
# What the kernel runs when its monitor asks for a shutdown (ACPI's power button). A plain poweroff would ask this script.
[ -d /sys/firmware/acpi ] && echo '/bin/busybox poweroff -f' > /proc/sys/kernel/poweroff_cmd

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

# As the kernel does it when it finds the root itself (Linux Documentation/admin-guide/kernel-parameters.txt).
read -r cmdline < /proc/cmdline
case " $cmdline" in *' root='*)
  set -f # words are words
  mode=ro init= type= root=
  for word in $cmdline; do
    case $word in
      root=*) root=${word#*=} ;;
      rootfstype=*) type=${word#*=} ;;
      init=*) init=${word#*=} ;;
      ro | rw) mode=$word ;;
    esac
  done
  # What the kernel has no module of yet is only tried by name.
  for type in ${type:-ext4 squashfs erofs}; do
    mount -t "$type" -o "$mode" "$root" /mnt 2> /dev/null && break
  done
  for init in $init /sbin/init /etc/init /bin/init /bin/sh; do
    [ -x "/mnt$init" ] || [ -L "/mnt$init" ] || continue
    for folder in dev sys proc; do # applets without a path need /proc
      /bin/busybox mount -o move "/$folder" "/mnt/$folder" || /bin/busybox umount -l "/$folder"
    done
    exec /bin/busybox switch_root /mnt "$init"
  done
  set +f
  echo "typevisor: no root file system with an init on $root"
  ;;
esac

# One process reads everything; it ends with 3 if the greeting was all that was asked for.
awk -f /etc/greeting.awk /proc/cmdline /proc/version /proc/meminfo /proc/cpuinfo /proc/uptime
[ $? -eq 3 ] && end

ip link set lo up &
cd /root
setsid cttyhack sh -l
end
