#!/usr/bin/env bash
# packimage's packing beside the pipeline that xCAT runs, on one tree, in turns: median wall seconds, CPU seconds, size.
# usage: pack.sh ROOT [ROUNDS]       needs find, cpio, pigz; builds the release binary
set -euo pipefail
root=${1:?usage: pack.sh ROOT [ROUNDS]}
rounds=${2:-5}
top=$(cd "$(dirname "$0")/../.." && pwd)
cargo build --quiet --release --locked -p coordinator --manifest-path "$top/Cargo.toml"
program=${CARGO_TARGET_DIR:-$top/target}/release/imgctl-coordinator
out=$(mktemp -d)
trap 'rm -f "$out"/*; rmdir "$out"' EXIT

TIMEFORMAT='%R %U %S'
ours() { "$program" pack-tree "$root" "$out/ours" >/dev/null; }
theirs() { (cd "$root" && find . -xdev -print0 | cpio -o -0 -H newc --quiet | pigz -6 >"$out/theirs"); }
measure() { { time "$1"; } 2>&1 | awk -v name="$1" '{print name, $1, $2 + $3}'; }

ours; theirs   # once, so that both read from memory
for _ in $(seq "$rounds"); do
    measure ours
    measure theirs
done >"$out/times"
median() { awk -v name="$1" -v field="$2" '$1 == name {print $field}' "$out/times" | sort -n | sed -n "$(((rounds + 1) / 2))p"; }
printf '%-34s %8s %8s %12s\n' "$(find "$root" -xdev | wc -l) entries" 'wall s' 'CPU s' bytes
printf '%-34s %8s %8s %12s\n' 'imgctl-coordinator pack-tree' "$(median ours 2)" "$(median ours 3)" "$(stat -c %s "$out/ours")"
printf '%-34s %8s %8s %12s\n' 'find | cpio -H newc | pigz -6' "$(median theirs 2)" "$(median theirs 3)" "$(stat -c %s "$out/theirs")"
