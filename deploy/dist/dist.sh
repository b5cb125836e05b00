#!/usr/bin/env bash
# The packages of a release: programs, checks, .deb and .rpm, and their digests.
# usage: [PROFILE=release|quick] [QUICK=1] dist.sh OUT [ARCH...]     ARCH: x86_64, ppc64le; both if none is named
set -euo pipefail
cd "$(dirname "$0")/../.."

out=$1
shift
[ $# -gt 0 ] || set -- x86_64 ppc64le

deploy/tools/install.sh dist
# The same for every architecture, so it is made by this machine.
rm -rf target/manual
cargo build -q --workspace --example manual --locked
"${CARGO_TARGET_DIR:-target}/debug/examples/manual" target/manual
deploy/dist/licences.sh >target/manual/licences
rm -rf "$out"
mkdir -p "$out"
for arch; do
    arch=${arch/#ppc64le/powerpc64le}
    programs=target/programs/$arch
    deploy/dist/programs.sh "$arch" "$programs"
    for program in imgctl imgctl-agent imgctl-coordinator; do
        deploy/dist/check.sh "$programs/$program" "$arch"
    done
    deploy/package/package.sh "$programs" target/manual "$arch" "$out"
done
cd "$out"
sha256sum -- *.deb *.rpm >SHA256SUMS
ls -l
