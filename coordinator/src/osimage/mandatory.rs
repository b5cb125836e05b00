//! Packages without which an image does not boot (XCAT.md 3.6): the build stages' own conditions, known before dispatch.
//!
//! Where all repositories are local it is judged by all that the lists bring along, and what nothing brings is a
//! problem. Else it is judged by the names that the lists come to, and is a warning, because a group or a dependency
//! may bring what no list names.

use model::arch::Arch;
use model::plan::Pass;

use super::holdings::Outlook;
use super::index::Closure;
use super::notes::Notes;
use super::release::System;
use super::target::Target;

/// One need, and what it is for. A `*` at the end of a name stands for anything.
struct Need {
    /// Names of a list that meet it, the usual one first.
    names: &'static [&'static str],
    purpose: &'static str,
    /// What meets it among all packages: any of these, all that stand in one. Names, provided names and files.
    ways: &'static [&'static [&'static str]],
    /// What to add.
    add: &'static str,
}

const APT: &[Need] = &[
    Need {
        names: &["linux-image-*", "linux-generic*", "linux-virtual*"],
        purpose: "the kernel that nodes boot",
        ways: &[&["linux-image-*"]],
        add: "linux-image-<arch> (on Ubuntu linux-image-generic)",
    },
    Need { names: &["dracut"], purpose: "building the initrd", ways: &[&["dracut"], &["dracut-core"]], add: "dracut" },
    Need {
        names: &["dracut-network"],
        purpose: "the network in the initrd",
        ways: &[&["dracut-network"]],
        add: "dracut-network",
    },
    Need {
        names: &["curl", "wget"],
        purpose: "fetching the image at boot",
        ways: &[&["curl"], &["wget"]],
        add: "curl",
    },
    Need {
        names: &["procps", "network-manager", "dbus"],
        purpose: "getting an address in the initrd",
        ways: &[&["isc-dhcp-client", "procps"], &["network-manager"], &["dbus-daemon"], &["dbus-broker"], &["dbus"]],
        add: "isc-dhcp-client and procps",
    },
    Need {
        names: &["nfs-common"],
        purpose: "the statelite root over NFS",
        ways: &[&["nfs-common"]],
        add: "nfs-common",
    },
];
const DNF: &[Need] = &[
    Need {
        names: &["kernel", "kernel-core", "kernel-[0-9]*", "kernel-core-*", "kernel-64k*", "kernel-uek*"],
        purpose: "the kernel that nodes boot",
        ways: &[
            &["kernel"],
            &["kernel-core"],
            &["kernel-64k-core"],
            &["kernel-uek-core"],
            &["kernel-uek"],
            &["kernel-rt"],
            // What every kernel of this family provides, whatever its name.
            &["kernel-uname-r"],
            &["kernel-core-uname-r"],
        ],
        add: "kernel",
    },
    Need { names: &["dracut"], purpose: "building the initrd", ways: &[&["dracut"]], add: "dracut" },
    Need {
        names: &["dracut-network"],
        purpose: "the network in the initrd",
        ways: &[&["dracut-network"]],
        add: "dracut-network",
    },
    Need {
        names: &["curl", "wget", "curl-minimal"],
        purpose: "fetching the image at boot",
        ways: &[&["curl"], &["curl-minimal"], &["wget"], &["/usr/bin/curl"], &["/usr/bin/wget"]],
        add: "curl",
    },
    Need {
        names: &["dhclient", "dhcp-client", "NetworkManager"],
        purpose: "getting an address in the initrd",
        ways: &[
            &["dhclient"],
            &["dhcp-client"],
            &["/usr/sbin/dhclient"],
            &["/sbin/dhclient"],
            &["NetworkManager"],
            &["systemd-networkd"],
        ],
        add: "NetworkManager (or dhcp-client)",
    },
    Need {
        names: &["nfs-utils"],
        purpose: "the statelite root over NFS",
        ways: &[&["nfs-utils"], &["/usr/sbin/mount.nfs"], &["/sbin/mount.nfs"]],
        add: "nfs-utils",
    },
];
const ZYPPER: &[Need] = &[
    Need {
        names: &["kernel-default*", "kernel-64kb*"],
        purpose: "the kernel that nodes boot",
        ways: &[],
        add: "kernel-default",
    },
    Need { names: &["dracut"], purpose: "building the initrd", ways: &[], add: "dracut" },
    Need { names: &["curl", "wget"], purpose: "fetching the image at boot", ways: &[], add: "curl" },
];

impl Need {
    fn is_named(&self, names: &[&str]) -> bool {
        let mut known = self.names.iter().chain(self.ways.iter().copied().flatten());
        known.any(|pattern| names.iter().any(|name| meets(pattern, name)))
    }

    fn is_met(&self, closure: &Closure<'_>) -> bool {
        let has = |pattern: &&str| closure.has(|name| meets(pattern, name));
        self.ways.iter().any(|way| way.iter().all(has))
    }
}

pub(super) fn check(target: &Target<'_>, passes: &[&[Pass]], outlook: &Outlook, notes: &mut Notes) {
    let Some(release) = &target.release else { return };
    let needs = match release.system() {
        System::Apt => APT,
        System::Dnf => DNF,
        System::Zypper => ZYPPER,
    };
    let names: Vec<&str> = passes
        .iter()
        .flat_map(|passes| passes.iter())
        .flat_map(|pass| &pass.install)
        .map(|item| item.name.as_str())
        .collect();
    // Without a single name there is a problem already, and this would only repeat it.
    if names.is_empty() {
        return;
    }
    let judged = outlook.judge(passes, |prospect| {
        let unmet: Vec<&Need> = needs.iter().filter(|need| !need.is_met(&prospect.closure)).collect();
        // A name that no repository has is a problem already.
        let certain: Vec<&Need> = unmet.iter().copied().filter(|need| !need.is_named(&prospect.missing)).collect();
        (unmet, prospect.whole.then_some(certain))
    });
    match judged.unwrap_or_else(|| (needs.iter().collect(), None)) {
        (_, Some(certain)) => certain.into_iter().for_each(|need| refuse(need, target, notes)),
        (unmet, None) => unmet.into_iter().filter(|need| !need.is_named(&names)).for_each(|need| warn(need, notes)),
    }
}

fn refuse(need: &Need, target: &Target<'_>, notes: &mut Notes) {
    let add = need.add.replace("<arch>", target.arch.map_or("<arch>", Arch::debian));
    notes.problem(format!(
        "the image could not boot: nothing that the lists bring is for {}; add {add} to the pkglist",
        need.purpose
    ));
}

fn warn(need: &Need, notes: &mut Notes) {
    let few = if need.names.len() > 3 { &need.names[..1] } else { need.names };
    let (names, purpose) = (few.join("` or `"), need.purpose);
    notes.warn(format!(
        "no list names `{names}`, for {purpose}: unless a group or a dependency brings it, the build will fail"
    ));
}

/// Whether a name of a list meets a need, be it with a version, an architecture or a wildcard of its own.
fn meets(pattern: &str, name: &str) -> bool {
    let name = name.split(['=', ':']).next().unwrap_or(name);
    if let Some(front) = pattern.strip_suffix("[0-9]*") {
        return name.strip_prefix(front).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    }
    match pattern.strip_suffix('*') {
        Some(front) => name.starts_with(front),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_met_by_names_with_versions_too() {
        let table = [
            ("linux-image-*", "linux-image-amd64", true),
            ("linux-image-*", "linux-headers-amd64", false),
            ("dracut", "dracut=059-4", true),
            ("dracut", "dracut-network", false),
            ("kernel-[0-9]*", "kernel-5.14.0-70.el9", true),
            ("kernel-[0-9]*", "kernel-devel", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(meets(pattern, name), expected, "{pattern} {name}");
        }
    }
}
