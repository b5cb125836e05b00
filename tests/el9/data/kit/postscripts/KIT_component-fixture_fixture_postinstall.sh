#!/bin/sh
# xCAT's genimage gives `installroot` and `otherpkgdir` in the environment.
[ -n "$installroot" ] || exit 1
printf '%s\n' "$otherpkgdir" > "$installroot/etc/fixture-kit-postinstall"
