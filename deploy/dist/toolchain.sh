#!/usr/bin/env bash
# Makes a folder with a Debian that compiles Rust for another architecture, and nothing when it is there already.
# usage: toolchain.sh powerpc64le|x86_64     prints the folder
#
# rustup's standard libraries are for the machine that has them; Debian's are packages for every architecture. The
# release is the oldest whose compiler is new enough (rust-version in Cargo.toml).
set -euo pipefail

suite=trixie
case "$1" in
    powerpc64le) debian=ppc64el ;;
    x86_64) debian=amd64 ;;
    *) echo "usage: $0 powerpc64le|x86_64" >&2; exit 2 ;;
esac
own=$(dpkg --print-architecture)
cache=${IMGCTL_DIST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/imgctl-dist}
root=$cache/$suite-$1

packages=(rustc-web cargo-web gcc libc6-dev)
# Of the other architecture only its standard library is wanted, not what its packages would bring along to run there.
library= architectures=$own
if [ "$debian" != "$own" ]; then
    packages+=("gcc-${1/_/-}-linux-gnu" "libc6-dev-$debian-cross")
    library=libstd-rust-web-dev:$debian architectures=$own,$debian
fi
key=$(printf '%s\n' "$suite" "${packages[@]}" "$library" | sha256sum | cut -c1-16)
if [ "$(cat "$root/etc/imgctl-dist" 2>/dev/null)" = "$key" ]; then
    echo "$root"
    exit 0
fi

# The mirror that this machine itself uses, whatever its release.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sort -u | head -n 1)
[ -n "$mirror" ] || { echo "toolchain.sh: apt names no mirror of Debian's; run apt-get update" >&2; exit 1; }

mkdir -p "$cache"
exec 9>"$cache/$suite-$1.lock"
flock 9
rm -rf --one-file-system "$root"
echo "toolchain.sh: making $root, once" >&2
mmdebstrap --variant=minbase --architectures="$architectures" --include="$(IFS=,; echo "${packages[*]}")" \
    --aptopt='APT::Install-Recommends "false"' \
    ${library:+--customize-hook='chroot "$1" sh -ec "cd /tmp; apt-get update -qq; apt-get -o APT::Sandbox::User=root download -qq '"$library"'; dpkg -x ./*.deb /; rm ./*.deb"'} \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$suite" "$root" "deb $mirror $suite main" >&2
echo "$key" >"$root/etc/imgctl-dist"
echo "$root"
