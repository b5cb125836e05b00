#!/usr/bin/env bash
# Makes the disk that a build node of the lab starts from: the machine's own Debian release for an architecture, with
# systemd, an NFS client and what an agent builds with, and kernel and initrd beside it. No agent is on it.
# usage: node.sh FOLDER x86_64|ppc64le
# Prints a folder below FOLDER, named by what goes into it and made only once: kernel, initrd, root.img.
set -euo pipefail
export LC_ALL=C

arch=$2
packages=(systemd systemd-sysv udev kmod iproute2 procps util-linux nfs-common qemu-guest-agent busybox-static libcap2-bin
    mmdebstrap debian-archive-keyring cpio initramfs-tools)
case "$arch" in
    # The server is for a node that plays the management node (`make lab-site`).
    x86_64) debian=amd64 packages+=(linux-image-cloud-amd64 nfs-kernel-server) ;;
    ppc64le) debian=ppc64el packages+=(linux-image-powerpc64le dnf rpm) ;;
    *) echo "usage: $0 FOLDER x86_64|ppc64le" >&2; exit 2 ;;
esac
. /etc/os-release
# Mirrors' indexes of other architectures' security updates are not always whole.
security=$VERSION_CODENAME-security
[ "$debian" = "$(dpkg --print-architecture)" ] || security=

mkdir -p "$1"
exec 9>"$1/node-$arch.lock"
flock -w 3600 9
mapfile -t mirrors < <(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$VERSION_CODENAME" -v security="$security" '$3 == suite || $3 == security' | sort -u)
[ ${#mirrors[@]} -gt 0 ] || { echo "node.sh: apt names no mirror of $VERSION_CODENAME; run apt-get update" >&2; exit 1; }
# A disk that is a month old is made anew, with what was mended since.
name=node-$arch-$({ cat "$0"; printf '%s\n' "${mirrors[@]}"; date +%Y-%m; } | sha256sum | cut -c1-16)
if [ -d "$1/$name" ]; then
    echo "$1/$name"
    exit 0
fi

work=$(mktemp -d "$1/node-making.XXXXXX")
registered=
finish() {
    [ -z "$registered" ] || echo -1 >"$registered"
    rm -rf --one-file-system "$work"
}
trap finish EXIT

# What is of another architecture runs under qemu-user, by an entry that goes again where this made it.
emulate() {
    local table=/proc/sys/fs/binfmt_misc entry
    [ -e $table/register ] || mount -t binfmt_misc binfmt_misc $table
    for entry in $table/*; do
        if grep -qs '^magic 7f454c46020101.*1500' "$entry" && grep -q '^enabled' "$entry" && grep -q '^flags:.*F' "$entry"; then
            return
        fi
    done
    printf '%s' ':imgctl-lab:M:0:\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x15\x00:\xff\xff\xff\xff\xff\xff\xff\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\x00:/usr/bin/qemu-ppc64le-static:F' >$table/register
    registered=$table/imgctl-lab
}
[ "$debian" = "$(dpkg --print-architecture)" ] || emulate

# initramfs-tools comes with the kernel and has nothing to do.
INITRD=No mmdebstrap --mode=root --skip=check/qemu --variant=minbase --architectures="$debian" --quiet \
    --include="$(IFS=,; echo "${packages[*]}")" --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    "$VERSION_CODENAME" "$work/root" "${mirrors[@]}" >&2

root=$work/root made=$work/made
mkdir "$made" "$work/initrd"
release=$(ls "$root/lib/modules")
cp "$root"/boot/vmlinu[xz]-"$release" "$made/kernel"

# The root's disk needs drivers that are modules; a real initrd would take minutes to make under emulation.
mkdir "$work/initrd/"{bin,dev,proc,sys,mods,root}
cp "$root/bin/busybox" "$work/initrd/bin/"
number=100
for module in virtio_pci virtio_blk ext4; do
    modprobe --dirname "$root" --set-version "$release" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
    number=$((number + 1)) into=$work/initrd/mods/$number-$(basename "$file" .xz)
    case "$file" in *.xz) xz -dc "$file" >"$into" ;; *) cp "$file" "$into" ;; esac
done
cat >"$work/initrd/init" <<'INIT'
#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
for module in /mods/*; do $bb insmod "$module"; done
until [ -b /dev/vda ]; do $bb usleep 50000; done
$bb mount -t ext4 /dev/vda /root
$bb mount --move /dev /root/dev
$bb umount /proc /sys
exec $bb switch_root /root /sbin/init
INIT
chmod 755 "$work/initrd/init"
(cd "$work/initrd" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$made/initrd"

# Each guest gets what is its own on a second disk, which is a tar archive.
cat >"$root/etc/systemd/system/lab-own.service" <<'UNIT'
[Unit]
Description=What is this node's own, from the second disk
DefaultDependencies=no
After=systemd-remount-fs.service systemd-udevd.service
Before=systemd-networkd.service network-pre.target basic.target
ConditionPathExists=!/var/lib/lab-own

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'tar -xf /dev/vdb -C / && touch /var/lib/lab-own'
ExecStartPost=/bin/systemctl --no-block daemon-reload

[Install]
WantedBy=sysinit.target
UNIT
echo '/dev/vda / ext4 rw 0 0' >"$root/etc/fstab"
: >"$root/etc/resolv.conf"
: >"$root/etc/machine-id"
mkdir -p "$root/install"
chroot "$root" systemctl --quiet enable lab-own.service systemd-networkd.service
[ ! -e "$root/lib/systemd/system/nfs-server.service" ] || chroot "$root" systemctl --quiet disable nfs-server.service
# Nobody updates a node of the lab, or logs in to it.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer getty@tty1.service \
    systemd-timesyncd.service rpcbind.service rpcbind.socket; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -rf "$root"/boot/vmlinu* "$root"/var/cache/apt/*.bin

mke2fs -q -t ext4 -L root -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" "$made/root.img" 12G >&2
mv -T "$made" "$1/$name"
echo "$1/$name"
