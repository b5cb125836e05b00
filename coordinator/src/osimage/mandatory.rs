//! Packages without which an image does not boot, judged by the names that the lists come to (XCAT.md 3.6).
//!
//! A warning each, because a group or a dependency may bring what no list names.

use model::plan::Pass;

use super::notes::Notes;
use super::release::System;
use super::target::Target;

/// One need: names that meet it (a `*` at the end stands for anything), and what it is for.
struct Need {
    names: &'static [&'static str],
    purpose: &'static str,
}

const fn need(names: &'static [&'static str], purpose: &'static str) -> Need {
    Need { names, purpose }
}

const APT: &[Need] = &[
    need(&["linux-image-*", "linux-generic*", "linux-virtual*"], "the kernel that nodes boot"),
    need(&["dracut"], "building the initrd"),
    need(&["dracut-network"], "the network in the initrd"),
    need(&["curl", "wget"], "fetching the image at boot"),
    need(&["procps", "network-manager", "dbus"], "getting an address in the initrd"),
    need(&["nfs-common"], "the statelite root over NFS"),
];
const DNF: &[Need] = &[
    need(
        &["kernel", "kernel-core", "kernel-[0-9]*", "kernel-core-*", "kernel-64k*", "kernel-uek*"],
        "the kernel that nodes boot",
    ),
    need(&["dracut"], "building the initrd"),
    need(&["dracut-network"], "the network in the initrd"),
    need(&["curl", "wget", "curl-minimal"], "fetching the image at boot"),
    need(&["dhclient", "dhcp-client", "NetworkManager"], "getting an address in the initrd"),
    need(&["nfs-utils"], "the statelite root over NFS"),
];
const ZYPPER: &[Need] = &[
    need(&["kernel-default*", "kernel-64kb*"], "the kernel that nodes boot"),
    need(&["dracut"], "building the initrd"),
    need(&["curl", "wget"], "fetching the image at boot"),
];

pub(super) fn check(target: &Target<'_>, passes: &[&[Pass]], notes: &mut Notes) {
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
    for Need { names: met_by, purpose } in needs {
        if !names.iter().any(|name| met_by.iter().any(|pattern| meets(pattern, name))) {
            let first = met_by[0];
            notes.warn(format!(
                "no list names `{first}`, for {purpose}: unless a group or a dependency brings it, the build will fail"
            ));
        }
    }
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
