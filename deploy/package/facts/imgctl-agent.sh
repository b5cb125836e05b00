summary='builds operating-system images on this node for an imgctl coordinator'
description="Runs on a build node. It connects to the coordinator, builds root images natively with the package managers
of the node in namespaces of its own, and publishes them over /install or by upload."
unit=imgctl-agent.service
# unshare (util-linux) is what no build starts without. The rest decides which images this node can build.
deb_depends='util-linux'
# Debian images; the tree below /install by NFS.
deb_recommends='mmdebstrap, debian-archive-keyring, nfs-common'
# Images of Red Hat's family; what driver disks and driver packages are opened with.
deb_suggests='dnf, rpm, ubuntu-keyring, rpm2cpio, libarchive-tools, e2fsprogs, mtools, gzip, xz-utils, zstd'
rpm_requires='util-linux'
rpm_recommends='dnf, rpm, nfs-utils'
rpm_suggests='mmdebstrap, debian-keyring, bsdtar, e2fsprogs, mtools, gzip, xz, zstd'
