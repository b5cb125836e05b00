#!/bin/sh
# Sourced by dracut: with imgurl= the root is ours, and the network has to come up for it.

imgurl=$(getarg imgurl=)
if [ -n "$imgurl" ]; then
    # shellcheck disable=SC2034
    root=imgctl rootok=1 netroot=imgctl
    mkdir -p /etc/cmdline.d
    echo rd.neednet=1 > /etc/cmdline.d/90-imgctl.conf
    getarg ip= > /dev/null || echo ip=dhcp >> /etc/cmdline.d/90-imgctl.conf
    # shellcheck disable=SC2154,SC2016
    echo '[ -e "$NEWROOT/proc" ]' > "$hookdir/initqueue/finished/imgctl.sh"
fi
