#!/usr/bin/env bash
# Installs what a purpose needs, by apt, and nothing when it is there already.
# usage: install.sh build|demo|dist|test|lab
set -euo pipefail

build=(gcc libc6-dev ca-certificates)
# What an agent builds Debian images with, and what it calls.
agent=(mmdebstrap debian-archive-keyring util-linux cpio)
# What an agent opens driver disks and driver packages with, where definitions name any.
drivers=(libarchive-tools e2fsprogs mtools rpm gzip xz-utils zstd)
# What the tests prove things with: other implementations of the formats, and a machine to boot.
proof=(gzip pigz tar zstd acl attr libcap2-bin openssl qemu-system-x86)
# What the tests make driver disks with.
disks=(xorriso genisoimage e2fsprogs dosfstools mtools)
# What the tests make their RPM distribution with (tests/el9), and install it.
rpm=(dnf rpm createrepo-c gnupg kmod debian-archive-keyring)

# What the tests make a build node of that mounts the install root by NFS (tests/lab).
guest=(qemu-system-x86 qemu-utils nfs-ganesha nfs-ganesha-vfs iproute2 mmdebstrap e2fsprogs cpio kmod binutils util-linux)
# And one of another architecture.
foreign=(qemu-system-ppc qemu-user-static)

# What a release is made with, for both architectures, and what starts a program of the other one.
dist=(mmdebstrap debian-archive-keyring util-linux rpm qemu-user-static jq)

case "${1:-}" in
    build) wanted=("${build[@]}") ;;
    demo) wanted=("${build[@]}" "${agent[@]}") ;;
    dist) wanted=("${build[@]}" "${dist[@]}") ;;
    test) wanted=("${build[@]}" "${agent[@]}" "${proof[@]}" "${rpm[@]}" "${drivers[@]}" "${disks[@]}" "${guest[@]}" "${dist[@]}" debootstrap) ;;
    lab) wanted=("${build[@]}" "${dist[@]}" "${guest[@]}" "${foreign[@]}" "${agent[@]}" "${rpm[@]}") ;;
    *) echo "usage: $0 build|demo|dist|test|lab" >&2; exit 2 ;;
esac

if [ "$(id -u)" != 0 ]; then
    echo "imgctl: this needs root: image trees hold devices, owners and capabilities" >&2
    exit 3
fi

missing=()
for package in "${wanted[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
