#!/usr/bin/env bash
# The demonstration: a coordinator and an agent on this machine, one osimage, one build, what it leaves.
# Everything it makes lies in one folder: $DEMO_STATE, or /var/tmp/imgctl-demo.
set -euo pipefail
cd "$(dirname "$0")/../.."

state=${DEMO_STATE:-/var/tmp/imgctl-demo}
name=demo-compute
target=${CARGO_TARGET_DIR:-$PWD/target}/debug
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

pids=()
# Ends what was started; a build that was interrupted is cancelled, so that the next run doesn't go on with it.
stop() {
    trap - EXIT INT TERM HUP
    if [ -n "${IMGCTL_COORDINATOR:-}" ]; then
        for id in $(imgctl builds list --active 2>/dev/null | awk '$1 ~ /^[0-9]+$/ {print $1}'); do
            imgctl builds cancel "$id" >/dev/null 2>&1 && echo "demo: build $id is cancelled" >&2 || true
        done
    fi
    # The agent first, while it can still say goodbye.
    for ((at = ${#pids[@]} - 1; at >= 0; at--)); do
        kill -TERM "${pids[at]}" 2>/dev/null || true
        wait "${pids[at]}" 2>/dev/null || true
    done
}
trap stop EXIT
trap 'stop; exit 130' INT TERM HUP

# Waits until a command succeeds, or says what it waited for.
await() {
    local what=$1 tries=0
    shift
    until "$@"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 150 ]; then
            echo "demo: waited 30 s for $what; see $state/*.log" >&2
            exit 1
        fi
        sleep 0.2
    done
}

say "what it needs"
deploy/tools/install.sh demo
cargo build --workspace --bins --locked
export PATH="$target:$PATH"

say "coordinator and agent, in $state"
mkdir -p "$state"
imgctl-coordinator init --config "$state/coordinator.toml" --state-dir "$state/coordinator" \
    --install-dir "$state/install" --listen 127.0.0.1:0 --admin-dir "$state/admin" >/dev/null
# Else the port of the last demonstration would be read from it.
: >"$state/coordinator.out"
# In a session of its own, so that Ctrl-C reaches this script and the build that is watched, and not the daemons.
setsid imgctl-coordinator run --config "$state/coordinator.toml" >"$state/coordinator.out" 2>>"$state/coordinator.log" &
pids+=($!)
await "the coordinator" grep -q '^listening on ' "$state/coordinator.out"
IMGCTL_COORDINATOR=$(sed -n 's/^listening on //p' "$state/coordinator.out")
export IMGCTL_COORDINATOR IMGCTL_CONFIG=$state/admin/config.toml

cat >"$state/agent.toml" <<TOML
coordinator = "$IMGCTL_COORDINATOR"
name = "$(hostname -s)"
state_dir = "$state/agent"
install_dir = "$state/install"
install = "local"
TOML
if [ ! -e "$state/agent/identity/cert.pem" ]; then
    answer=$(imgctl agents token --json)
    field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" <<<"$answer"; }
    imgctl-agent join --config "$state/agent.toml" --coordinator "$IMGCTL_COORDINATOR" \
        --token "$(field token)" --ca-fingerprint "$(field ca_fingerprint)"
fi
setsid imgctl-agent run --config "$state/agent.toml" 2>>"$state/agent.log" &
pids+=($!)
connected() { imgctl agents list --json | grep -q '"state": *"connected"'; }
await "the agent" connected
imgctl agents list

say "an osimage"
. /etc/os-release
osvers=debian$VERSION_ID
lists=$state/install/custom/netboot/debian
mkdir -p "$lists"
# Lists that were edited since the last run stay.
for list in compute.pkglist compute.exlist; do
    [ -e "$lists/$list" ] || cp "deploy/demo/$list" "$lists/$list"
done
# The machine's own mirrors, whatever they are.
repositories=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$VERSION_CODENAME" '$2 == suite || $2 == suite "-security"' | sort -u | paste -sd,)
sed -e "s|@NAME@|$name|; s|@OSVERS@|$osvers|; s|@ARCH@|$(uname -m)|" \
    -e "s|@PKGDIR@|$repositories|; s|@LISTS@|$lists|" deploy/demo/osimage.stanza |
    imgctl osimage import --replace -
imgctl osimage list

say "imgctl build $name"
imgctl build "$name" --discard-edits

say "what nodes boot"
imgctl generations list "$name"
imgctl generations show "$name"
cat <<NEXT

Next:
  ${DEMO_STATE:+DEMO_STATE=$state }make demo
      builds the next generation
  gzip -dc "$state/install/netboot/$osvers/$(uname -m)/compute/rootimg.cpio.gz" | cpio -t | head
      looks into the archive
  editor "$lists/compute.pkglist"
      changes what goes in; then make demo again
  README.md, "A site in ten minutes"
      sets up a management node and agents for real
Everything of this demonstration lies in $state; the coordinator and the agent are stopped now.
NEXT
