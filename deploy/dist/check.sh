#!/usr/bin/env bash
# Proves that a program needs nothing of the node that it runs on: it is started in a root that holds it alone.
# usage: check.sh PROGRAM ARCH
set -euo pipefail

program=$1 arch=$2
root=$(mktemp -d /var/tmp/imgctl-empty-XXXXXX)
trap 'rm -rf --one-file-system "$root"' EXIT
install -m 755 "$program" "$root/program"
starter=()
if [ "$arch" != "$(uname -m | sed s/ppc64le/powerpc64le/)" ]; then
    # An emulator is the one thing that has to be there, and is a static program as well.
    install -m 755 "/usr/bin/qemu-${arch/powerpc64le/ppc64le}-static" "$root/emulator"
    starter=(/emulator)
fi
version=$(chroot "$root" "${starter[@]}" /program --version) || {
    echo "$arch: \`$(basename "$program")\` doesn't start in an empty root: it needs something of the node" >&2
    exit 1
}
echo "$arch: \`$(basename "$program")\` starts in an empty root and says \`$version\`"

# Nor may a library of the node, made for another C library, be loaded where nsswitch.conf names one to find hosts with.
if [ ${#starter[@]} = 0 ] && [ "$(basename "$program")" = imgctl-agent ]; then
    echo 'hosts: compat myhostname files dns' >"$root/nsswitch.conf"
    status=0
    unshare --mount --propagation private sh -ec 'mount --bind "$1" /etc/nsswitch.conf; shift; exec "$@"' - \
        "$root/nsswitch.conf" "$root/program" join --coordinator no-such-host.invalid:7443 --token none \
        --ca-fingerprint "$(printf '0%.0s' {1..64})" --identity "$root/identity" 2>"$root/said" || status=$?
    # 4: the coordinator can't be reached.
    [ "$status" = 4 ] || { echo "$arch: an unknown host ends the agent with $status: $(cat "$root/said")" >&2; exit 1; }
    echo "$arch: \`imgctl-agent\` takes no library of the node to look up hosts with"
fi
