#!/bin/sh
# Called by dracut with the interface that has come up: fetch the image, unpack it, leave it at $NEWROOT. It tries
# for ever, as a node that waits for its server should.

command -v getarg > /dev/null || . /lib/dracut-lib.sh

NEWROOT=${3:-${NEWROOT:-/sysroot}}
[ -e "$NEWROOT/proc" ] && exit 0

imgurl=$(getarg imgurl=)
limit=$(getarg rootlimit=)
flags=$(getarg rootflags=)

say() {
    echo "imgctl: $*" > /dev/kmsg
}

fetch() {
    if command -v curl > /dev/null; then
        curl --fail --silent --show-error --location --connect-timeout 20 --speed-limit 1 --speed-time 60 "$imgurl"
    else
        wget -q -O - -T 60 "$imgurl"
    fi
}

decompress() {
    case "$imgurl" in
    *.gz) gzip -dc ;;
    *.xz) xz -dc ;;
    *.zst) zstd -dc ;;
    *) cat ;;
    esac
}

# The status of every part of the pipe counts, and a plain shell knows only that of the last one.
unpack() {
    rm -f /tmp/imgctl-failed
    case "${imgurl##*/}" in
    *.cpio*)
        { fetch || : > /tmp/imgctl-failed; } | { decompress || : > /tmp/imgctl-failed; } |
            (cd "$NEWROOT" && cpio --extract --make-directories --preserve-modification-time --unconditional --quiet) || return 1
        ;;
    *.tar*)
        { fetch || : > /tmp/imgctl-failed; } | { decompress || : > /tmp/imgctl-failed; } |
            tar --extract --numeric-owner --xattrs --xattrs-include='*' --directory "$NEWROOT" || return 1
        ;;
    *.sfs)
        fetch > /tmp/imgctl.sfs || return 1
        mkdir -p /run/imgctl/ro /run/imgctl/rw
        mount -t squashfs -o loop,ro /tmp/imgctl.sfs /run/imgctl/ro || return 1
        mount -t tmpfs -o "mode=755${limit:+,size=$limit}" imgctl /run/imgctl/rw || return 1
        mkdir -p /run/imgctl/rw/upper /run/imgctl/rw/work
        umount "$NEWROOT"
        mount -t overlay -o lowerdir=/run/imgctl/ro,upperdir=/run/imgctl/rw/upper,workdir=/run/imgctl/rw/work \
            imgctl "$NEWROOT" || return 1
        ;;
    *)
        say "do not know how to unpack ${imgurl##*/}"
        return 1
        ;;
    esac
    [ ! -e /tmp/imgctl-failed ] && [ -e "$NEWROOT/usr" ] && mkdir -p "$NEWROOT/proc"
}

# cpio can't carry file capabilities; packimage puts them on a list.
restore_xattrs() {
    list=$NEWROOT/.imgctl/xattrs
    [ -e "$list" ] || return 0
    if ! command -v setfattr > /dev/null; then
        say "no setfattr in the initrd (package attr): file capabilities of the image are not restored"
        return 0
    fi
    while read -r path name value; do
        case "$path" in '#'* | '') continue ;; esac
        setfattr -h -n "$(printf %b "$name")" -v "$value" "$NEWROOT$(printf %b "$path")" || say "no $name on $path"
    done < "$list"
}

while :; do
    say "fetching $imgurl"
    mount -t tmpfs -o "mode=755${limit:+,size=$limit}${flags:+,$flags}" rootfs "$NEWROOT"
    if unpack; then
        restore_xattrs
        # What DHCP said goes along.
        [ -s /etc/resolv.conf ] && [ ! -L "$NEWROOT/etc/resolv.conf" ] && cat /etc/resolv.conf > "$NEWROOT/etc/resolv.conf"
        say "unpacked"
        exit 0
    fi
    say "fetching or unpacking failed; trying again in 10 s"
    umount "$NEWROOT" 2> /dev/null
    umount /run/imgctl/rw /run/imgctl/ro 2> /dev/null
    rm -f /tmp/imgctl.sfs
    sleep 10
done
