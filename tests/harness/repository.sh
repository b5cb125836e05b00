#!/usr/bin/env bash
# Makes a repository that tests build images from: packages of the machine's own release, as few as a bootable image can
# do with. "whole" leaves them as they are. Of "thin" ones every program and maintainer script is the real one; manuals,
# translations, most kernel modules, and dependencies that nothing in a build calls are left out, and nothing is
# compressed. So a build takes seconds, and a run of minutes sees dozens of them.
# usage: repository.sh FOLDER CODENAME amd64|ppc64el thin|whole
# Prints the repository's path: a folder below FOLDER, named by what goes into it and made only once.
set -euo pipefail
export LC_ALL=C

arch=$3 kind=$4
case "$arch" in
    amd64) kernel=linux-image-cloud-amd64 ;;
    ppc64el) kernel=linux-image-powerpc64le ;;
    *) echo "usage: $0 FOLDER CODENAME amd64|ppc64el thin|whole" >&2; exit 2 ;;
esac
wanted=(apt base-files base-passwd bash bsdutils coreutils dash debianutils diffutils dpkg findutils grep gzip
    hostname init-system-helpers libc-bin login mawk mount ncurses-base perl-base sed sysvinit-utils tar usr-is-merged
    util-linux "$kernel" dracut dracut-network isc-dhcp-client iproute2 procps nfs-common wget kmod udev)
# Essential to dpkg, to the packages' scripts, or to dracut; the others come where they are asked for.
essential=' base-files base-passwd bash coreutils dash debianutils diffutils dpkg findutils grep gzip init-system-helpers libc-bin
    perl-base sed tar util-linux '
# Named as dependencies, and called by nothing in a build.
needless='e2fsprogs|logsave|python3|media-types|debian-archive-keyring|sensible-utils|usrmerge \| usr-is-merged'
# Of the kernel's modules those that the initrds are to hold, with what these need.
modules='/(fs/(nfs|nfs_common|lockd|fscache|netfs|ext4|jbd2|mbcache)|net/(sunrpc|dns_resolver|core|packet)|lib|crypto|drivers/(virtio|net/[^/]*\.ko|net/ethernet/intel/e1000))'

apt() { # as on an empty machine of the architecture
    apt-get -qq -y -o Dir::State::status="$work/status" -o Dir::Cache::archives="$work/archives" -o Debug::NoLocking=1 \
        -o APT::Sandbox::User=root -o APT::Architecture="$arch" -o APT::Architectures="$arch" "${options[@]}" "$@"
}

fetch() { # into $1, or with --print-uris
    apt --no-install-recommends "$1" install "${wanted[@]}"
}

# Of another architecture this machine has no lists. Security updates are left out: mirrors' indexes of them are not
# always whole.
foreign_lists() { # of release $1
    apt-get indextargets --format 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' | awk -v suite="$1" '$4 == suite' | sort -u >"$work/sources"
    mkdir -p "$work/lists/partial"
    options=(-o Dir::Etc::SourceList="$work/sources" -o Dir::Etc::SourceParts=/nonexistent -o Dir::State::lists="$work/lists"
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Acquire::Languages=none)
    apt update >&2
}

thin() { # one package
    local deb=$1 tree=$work/trees/$(basename "$1" .deb) name
    dpkg-deb --raw-extract "$deb" "$tree"
    name=$(sed -n 's/^Package: //p' "$tree/DEBIAN/control")
    case "$essential" in
        *[[:space:]]"$name"[[:space:]]*) ;;
        *) sed -i -E '/^Essential:/d; s/^Priority: .*/Priority: optional/' "$tree/DEBIAN/control" ;;
    esac
    sed -i -E "/^(Pre-)?Depends:/{ s/(: |, )(($needless)( \([^)]*\))?(, |\$))+/\1/g; s/, \$// }" "$tree/DEBIAN/control"
    sed -i -E '/^(Pre-)?Depends: *$/d; /^Conffiles/d' "$tree/DEBIAN/control"
    rm -rf "$tree"/usr/share/{man,locale,info,lintian,bug,i18n,zoneinfo,bash-completion} "$tree"/lib/udev/hwdb.d \
        "$tree"/usr/lib/*/gconv
    # dpkg takes a package for gone that has no file of its own.
    [ ! -d "$tree/usr/share/doc" ] || find "$tree/usr/share/doc" -type f ! -name copyright -delete
    [ ! -d "$tree/lib/modules" ] ||
        find "$tree/lib/modules" -name '*.ko' -regextype posix-extended ! -regex ".*/kernel$modules.*" -delete
    rm -f "$tree/DEBIAN/md5sums"
    dpkg-deb --build -Znone "$tree" "$made" >/dev/null
    rm -rf "$tree"
}

index() {
    cd "$made"
    for deb in *.deb; do
        dpkg-deb --field "$deb"
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d' ' -f1)"
    done >Packages
    {
        printf 'Suite: %s\nCodename: %s\nArchitectures: %s\n' "$1" "$1" "$arch"
        printf 'Date: %s\nSHA256:\n' "$(date -R -u | sed 's/+0000/UTC/')"
        printf ' %s %s Packages\n' "$(sha256sum Packages | cut -d' ' -f1)" "$(stat -c %s Packages)"
    } >Release
}

mkdir -p "$1"
work=$(mktemp -d "$1/making.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/archives/partial" "$work/trees" "$work/made"
: >"$work/status"
made=$work/made
options=()
[ "$arch" = "$(dpkg --print-architecture)" ] || foreign_lists "$2"
print=$(fetch --print-uris)
name=$({ cat "$0"; echo "$2 $arch $kind"; awk '{ print $2, $4 }' <<<"$print"; } | sha256sum | cut -c1-16)
if [ ! -d "$1/$name" ]; then
    fetch --download-only >&2
    for deb in "$work"/archives/*.deb; do
        if [ "$kind" = thin ]; then thin "$deb"; else mv "$deb" "$made/"; fi
    done
    index "$2"
    # Somebody else may have made it meanwhile.
    mv -T "$made" "$1/$name" || [ -d "$1/$name" ]
fi
echo "$1/$name"
