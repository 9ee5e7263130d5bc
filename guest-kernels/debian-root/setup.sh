#!/bin/sh
# Unpacks Debian packages into the folder $1 and does what their maintainer scripts, which cannot run here, would have done: for a
# machine that boots systemd, finds its network by DHCP, and has root without a password on its console.
# The packages' paths come on standard input, a line each. As root, or as somebody who looks like it.
set -eu
root=$1
extra=$2

# Merged /usr: packages still bring files below /bin, which tar must put behind the links.
mkdir -p "$root"
for folder in bin sbin lib lib64; do
  mkdir -p "$root/usr/$folder"
  ln -s "usr/$folder" "$root/$folder"
done
while read -r deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x -p --numeric-owner --keep-directory-symlink -C "$root" \
    --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/info/*' \
    --exclude='./usr/share/locale/*' --exclude='./usr/share/lintian/*'
done
cd "$root"

# base-passwd: users and groups; the passwords in files that only root reads.
awk -F: -v OFS=: '{ $2 = "x"; print }' usr/share/base-passwd/passwd.master > etc/passwd
awk -F: -v OFS=: '{ print $1, ($1 == "root" ? "" : "*"), 19000, 0, 99999, 7, "", "", "" }' etc/passwd > etc/shadow
awk -F: -v OFS=: '{ $2 = "x"; print }' usr/share/base-passwd/group.master > etc/group
awk -F: -v OFS=: '{ print $1, "*", "", "" }' etc/group > etc/gshadow
chmod 640 etc/shadow etc/gshadow
chown 0:42 etc/shadow etc/gshadow # the group "shadow"

# base-files and libc-bin.
cp usr/share/libc-bin/nsswitch.conf etc/nsswitch.conf
cp usr/share/base-files/profile etc/profile
cp usr/share/base-files/dot.profile root/.profile
cp usr/share/base-files/dot.bashrc root/.bashrc
chmod 700 root
chmod 1777 tmp

# mawk and others by update-alternatives.
mkdir -p etc/alternatives
[ ! -e usr/bin/mawk ] || ln -sf mawk usr/bin/awk

cp -R "$extra/." .
ln -sf /run/systemd/resolve/stub-resolv.conf etc/resolv.conf
: > etc/machine-id # made at the first boot
wants=etc/systemd/system/multi-user.target.wants
mkdir -p $wants
for unit in systemd-networkd systemd-resolved; do
  [ ! -e usr/lib/systemd/system/$unit.service ] || ln -s /lib/systemd/system/$unit.service $wants/
done
