#!/bin/bash
# dracut module `imgctl`: fetches the root image that imgurl= names and unpacks it into a tmpfs.

check() {
    return 255
}

depends() {
    echo network base
}

installkernel() {
    hostonly='' instmods overlay squashfs loop =drivers/net/phy
}

install() {
    inst_multiple mount umount mkdir rm cat sleep gzip cpio
    inst_multiple -o curl wget tar xz zstd setfattr
    # https: the image's own certificates, if it has any.
    inst_simple /etc/ssl/certs/ca-certificates.crt
    inst_hook cmdline 20 "$moddir/cmdline.sh"
    inst "$moddir/imgctlroot.sh" /sbin/imgctlroot
    dracut_need_initqueue
}
