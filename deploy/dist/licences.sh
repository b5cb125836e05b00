#!/usr/bin/env bash
# The licences of what is linked into the programs, each text once, for the packages' documents.
# usage: licences.sh >FILE
set -euo pipefail
cd "$(dirname "$0")/../.."

# name, version and folder of every crate of other people's that comes into a program for Linux.
crates() {
    local used
    used=$(cargo tree --locked --offline -p coordinator -p agent -p cli -e normal --prefix none --format '{p}' \
        --target x86_64-unknown-linux-gnu --target powerpc64le-unknown-linux-gnu | cut -d ' ' -f 1,2 | sort -u)
    cargo metadata --format-version 1 --locked --offline |
        jq -r '.packages[] | select(.source != null) | [.name, .version, .license // "?", .manifest_path] | @tsv' |
        while IFS=$'\t' read -r name version licence manifest; do
            ! grep -qxF "$name v$version" <<<"$used" || printf '%s\t%s\t%s\t%s\n' "$name" "$version" "$licence" "$(dirname "$manifest")"
        done
}

echo "imgctl contains the GNU C library (LGPL-2.1-or-later; its licence lies in every Debian system's"
echo "/usr/share/common-licenses, and \`make dist\` of imgctl's source links it anew) and these crates:"
echo
declare -A seen
crates | sort | while IFS=$'\t' read -r name version licence folder; do
    echo "== $name $version: $licence"
    for file in "$folder"/LICEN[CS]E* "$folder"/COPYING* "$folder"/NOTICE* "$folder"/UNLICENSE*; do
        [ -f "$file" ] || continue
        digest=$(tr -d ' \r\n\t' <"$file" | sha256sum | cut -c 1-12)
        if [ -n "${seen[$digest]:-}" ]; then
            echo "   $(basename "$file"): as of ${seen[$digest]}"
        else
            seen[$digest]="$name $version, $(basename "$file")"
            echo "-- $(basename "$file")"
            sed 's/\r$//' "$file"
            echo
        fi
    done
done
