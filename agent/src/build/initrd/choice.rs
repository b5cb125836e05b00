//! What dracut is told, and what its words mean. Pure.

/// For a module that dracut did not take.
pub(super) const REFUSED_HINT: &str =
    "a program that this module needs is not in the image; dracut's lines above name it";

/// Why an image can't have an initrd that boots from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lack {
    #[error("the image has no dracut, so no initrd can be made")]
    Dracut,
    #[error("the image's dracut has no network modules")]
    DracutNetwork,
    #[error("the image has nothing that dracut can bring up the network with")]
    Network,
    #[error("the image has dhclient, but not `{0}`, which dracut's network-legacy needs with it")]
    Companion(&'static str),
    #[error("the image has no mount.nfs, so its initrd could not mount a root on NFS")]
    Nfs,
    #[error("the image has neither curl nor wget, so its initrd could not fetch an image")]
    Fetch,
}

impl Lack {
    /// Which package to add.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Dracut => "add dracut and dracut-network to the pkglist",
            Self::DracutNetwork => "add dracut-network to the pkglist",
            Self::Network => {
                "add isc-dhcp-client and procps to the pkglist, on RPM systems dhclient and procps-ng (or NetworkManager, or systemd-networkd with dbus)"
            }
            Self::Companion("pgrep") => "add procps (on RPM systems procps-ng) to the pkglist",
            Self::Companion("ip") => "add iproute2 (on RPM systems iproute) to the pkglist",
            Self::Companion(_) => "add the package that has it to the pkglist",
            Self::Fetch => "add curl to the pkglist",
            Self::Nfs => "add nfs-common (on RPM systems nfs-utils) to the pkglist",
        }
    }
}

/// The dracut modules for a network boot, by what the image has; `has` answers for a path without leading slash.
pub(super) fn dracut_modules(has: &dyn Fn(&str) -> bool) -> Result<String, Lack> {
    let module = |name: &str| {
        ["35", "01", "35", "45", "00"].iter().any(|order| has(&format!("usr/lib/dracut/modules.d/{order}{name}")))
    };
    let program =
        |name: &str| ["usr/sbin", "usr/bin", "sbin", "bin"].iter().any(|folder| has(&format!("{folder}/{name}")));
    if !program("dracut") {
        return Err(Lack::Dracut);
    }
    if !module("network-legacy") && !module("network-manager") && !module("systemd-networkd") {
        return Err(Lack::DracutNetwork);
    }
    let networkd = has("usr/lib/systemd/systemd-networkd") || has("lib/systemd/systemd-networkd");
    let network = if module("network-legacy") && program("dhclient") {
        // Without it dracut leaves the module out with one line in the log.
        if let Some(lacks) = ["pgrep", "ip"].into_iter().find(|name| !program(name)) {
            return Err(Lack::Companion(lacks));
        }
        "network-legacy"
    } else if module("network-manager") && program("NetworkManager") {
        "network-manager"
    } else if module("systemd-networkd") && networkd && (program("dbus-daemon") || program("dbus-broker")) {
        "systemd-networkd"
    } else {
        return Err(Lack::Network);
    };
    if !program("mount.nfs") {
        return Err(Lack::Nfs);
    }
    if !program("curl") && !program("wget") {
        return Err(Lack::Fetch);
    }
    Ok(format!("{network} network nfs base kernel-modules"))
}

/// The module that dracut complains of, as a sentence, with its reason where that was said earlier.
pub(super) fn refused(lines: &[String]) -> Option<String> {
    let line = lines.iter().find(|line| line.contains("cannot be found or installed"))?;
    let name = line.split(['\'', '`', '"']).nth(1).unwrap_or(line);
    let of_it = |line: &&String| line.contains(&format!("'{name}'"));
    let reason = lines
        .iter()
        .filter(of_it)
        .find_map(|line| line.split_once("will not be installed, because "))
        .map(|(_, reason)| format!(": {}", reason.trim_end_matches(['!', '.'])));
    Some(format!("dracut can't put its module `{name}` into the initrd{}", reason.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGACY: &str = "usr/lib/dracut/modules.d/35network-legacy";
    const NETWORKD: &str = "usr/lib/dracut/modules.d/01systemd-networkd";

    #[test]
    fn the_network_module_goes_by_what_the_image_has() {
        let base = ["usr/bin/dracut", LEGACY, NETWORKD, "usr/sbin/mount.nfs", "usr/bin/curl"];
        for (more, expected) in [
            (
                &["usr/sbin/dhclient", "usr/bin/pgrep", "usr/bin/ip"][..],
                Ok("network-legacy network nfs base kernel-modules"),
            ),
            (&["usr/sbin/dhclient", "usr/bin/ip"], Err(Lack::Companion("pgrep"))),
            (
                &["lib/systemd/systemd-networkd", "usr/bin/dbus-daemon"],
                Ok("systemd-networkd network nfs base kernel-modules"),
            ),
            (&["lib/systemd/systemd-networkd"], Err(Lack::Network)),
            (&[], Err(Lack::Network)),
        ] {
            let has = |name: &str| base.contains(&name) || more.contains(&name);
            assert_eq!(dracut_modules(&has).as_deref(), expected.as_ref().copied(), "{more:?}");
        }
        assert_eq!(dracut_modules(&|_| false), Err(Lack::Dracut));
        assert_eq!(dracut_modules(&|name| name == "usr/bin/dracut"), Err(Lack::DracutNetwork));
    }

    #[test]
    fn dracuts_complaint_is_found() {
        let lines = ["dracut: Executing", "dracut: dracut module 'network-legacy' cannot be found or installed."]
            .map(String::from);
        assert_eq!(refused(&lines).unwrap(), "dracut can't put its module `network-legacy` into the initrd");
        assert_eq!(refused(&lines[..1]), None);
        let lines = [
            "dracut: dracut module 'mksh' will not be installed, because command 'mksh' could not be found!",
            "dracut: dracut module 'nfs' will not be installed, because command 'umount' could not be found!",
            "dracut: dracut module 'nfs' cannot be found or installed.",
        ]
        .map(String::from);
        let expected = "dracut can't put its module `nfs` into the initrd: command 'umount' could not be found";
        assert_eq!(refused(&lines).unwrap(), expected);
    }
}
