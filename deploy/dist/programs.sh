#!/usr/bin/env bash
# Builds the programs of a release, or some of them, for one architecture into a folder, without shared libraries, so that
# they run on nodes with an older libc, and without line tables, which are four fifths of them. PROFILE is cargo's, "release"
# if it isn't set.
# usage: [PROFILE=release|quick] programs.sh x86_64|powerpc64le OUT [PROGRAM...]
set -euo pipefail
cd "$(dirname "$0")/../.."

arch=$1 out=$2
shift 2
programs=("$@")
[ $# -gt 0 ] || programs=(imgctl imgctl-agent imgctl-coordinator)
profile=${PROFILE:-release}
triple=$arch-unknown-linux-gnu
linker=$arch-linux-gnu-gcc
upper=$(tr 'a-z-' 'A-Z_' <<<"$triple")
target=${CARGO_TARGET_DIR:-$PWD/target}/dist

root=$(deploy/dist/toolchain.sh "$arch")
cargo fetch --locked
mkdir -p "$target" "$out"
for point in src target cargo; do mkdir -p "$root/$point"; done

# Mounts of its own, which go with it; the source is only read.
unshare --mount --propagation private bash -euo pipefail -c '
    root=$1 target=$2
    mount --bind "$PWD" "$root/src"
    mount -o remount,bind,ro "$root/src"
    mount --bind "$target" "$root/target"
    mount --bind "${CARGO_HOME:-$HOME/.cargo}" "$root/cargo"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    shift 2
    exec chroot "$root" env -i "$@"
' -- "$root" "$target" \
    PATH=/usr/bin:/bin HOME=/root CARGO_HOME=/cargo CARGO_TARGET_DIR=/target \
    "CARGO_TARGET_${upper}_LINKER=$linker" "CC_${triple//-/_}=$linker" \
    "CARGO_TARGET_${upper}_RUSTFLAGS=-C target-feature=+crt-static" \
    sh -ec "cd /src
        cargo build --offline --locked --profile $profile --target $triple -p coordinator -p agent -p cli ${programs[*]/#/--bin }
        cd /target/$triple/$profile
        mkdir -p stripped
        for program in ${programs[*]}; do
            $arch-linux-gnu-strip --strip-debug -o stripped/\$program \$program
        done"

for program in "${programs[@]}"; do
    install -m 755 "$target/$triple/$profile/stripped/$program" "$out/$program"
done
