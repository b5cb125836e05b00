#!/usr/bin/env bash
# Makes the packages of one architecture, .deb and .rpm, from programs that are compiled already.
# usage: package.sh PROGRAMS MANUAL ARCH OUT
#   PROGRAMS  folder with imgctl, imgctl-agent, imgctl-coordinator
#   MANUAL    folder that the example `manual` of the crate tests wrote, and licences.sh, if it did
#   ARCH      x86_64 or powerpc64le
# environment: VERSION instead of the one in Cargo.toml; QUICK=1 packs fast and large, for tests; SOURCE_DATE_EPOCH
#
# Each package is one folder as it will lie on the node (stage.sh), which becomes both formats. What is said of a
# package in both stands in facts/.
set -euo pipefail

if [ $# != 4 ]; then
    sed -n '2,9s/^# \?//p' "$0" >&2
    exit 2
fi
mkdir -p "$4"
programs=$(realpath "$1") manual=$(realpath "$2") out=$(realpath "$4")
case "$3" in
    x86_64) deb_arch=amd64 rpm_arch=x86_64 ;;
    powerpc64le) deb_arch=ppc64el rpm_arch=ppc64le ;;
    *) echo "package.sh: there are no packages for $3, only for x86_64 and powerpc64le" >&2; exit 2 ;;
esac
here=$(dirname "$(realpath "$0")")
source_root=$here/../..
in_manifest=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$source_root/Cargo.toml")
# A pre-release comes before its release: in both formats that is a tilde.
version=${VERSION:-${in_manifest/-/\~}}
# The same source gives the same packages.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$source_root" log -1 --format=%ct 2>/dev/null || date +%s)}
# xz, as older dpkg and rpm don't know zstd.
deb_compression=(-Zxz) rpm_compression=w6.xzdio
[ -z "${QUICK:-}" ] || { deb_compression=(-Zgzip -z1) rpm_compression=w1.gzdio; }

work=$(mktemp -d /var/tmp/imgctl-package-XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
umask 022

source "$here/stage.sh"
source "$here/deb.sh"
source "$here/rpm.sh"

for name in imgctl imgctl-agent imgctl-coordinator; do
    # What the facts don't mention.
    unit='' deb_depends='' deb_recommends='' deb_suggests='' rpm_requires='' rpm_recommends='' rpm_suggests=''
    source "$here/facts/$name.sh"
    stage=$work/$name
    mkdir "$stage"
    "stage_${name//-/_}"
    stage_documents
    find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    make_deb
    make_rpm
done
