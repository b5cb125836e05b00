summary='holds osimage definitions, gives builds to agents, packs what nodes boot'
description="The daemon on the management node of a cluster. It keeps definitions with xCAT's attribute names, queues builds,
receives what agents publish and packs it, one generation after the other, below /install."
unit=imgctl-coordinator.service
# It packs and unpacks by itself. How nodes reach /install is the site's affair.
deb_recommends='imgctl'
deb_suggests='nfs-kernel-server'
rpm_recommends='imgctl'
rpm_suggests='nfs-utils'
