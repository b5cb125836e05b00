//! Drivers for the initrds: those of `netdrivers` in front of a list for the architecture (XCAT.md 6.7).
//!
//! One rule for every family: what is named comes in front and the list stays, because an initrd with too many drivers
//! boots and one with too few doesn't. xCAT's lists end with the cards of their day; the newer ones are added. An agent
//! takes those that its kernel has.

use model::arch::Arch;
use model::plan::{Drivers, Take};

use super::driver_sources;
use super::notes::Notes;
use super::target::Target;

/// In every initrd, as in xCAT.
const FILE_SYSTEMS: [&str; 2] = ["ext3", "ext4"];
/// Cards that xCAT has no default for (its issues 3599, 6805, 7781), on machines with PCI Express.
const MODERN: [&str; 5] = ["mlx5_core", "ice", "i40e", "ixgbe", "bnxt_en"];

pub(super) fn choose(target: &Target<'_>, notes: &mut Notes) -> Drivers {
    let (named, take) = named(target, notes);
    let defaults = target.arch.map(defaults).unwrap_or_default();
    if target.osimage.get("netdrivers").is_none() && !defaults.is_empty() {
        notes.defaulted("netdrivers", &defaults.join(","), "drivers for the architecture");
    }
    let mut load = named.clone();
    for name in defaults.into_iter().chain(FILE_SYSTEMS) {
        if !load.iter().any(|known| known == name) {
            load.push(name.to_owned());
        }
    }
    Drivers { load, named, sources: driver_sources::read(target, take, notes), take }
}

/// The drivers of `netdrivers`, and what its other words say of driver packages.
fn named(target: &Target<'_>, notes: &mut Notes) -> (Vec<String>, Take) {
    let Some(value) = target.osimage.get("netdrivers") else { return (Vec::new(), Take::Nothing) };
    notes.given("netdrivers", value);
    let (mut named, mut all) = (Vec::<String>::new(), false);
    for word in target.osimage.list("netdrivers") {
        match word {
            "allupdate" => all = true,
            // xCAT's word for the initrds of installers.
            "updateonly" => notes.warn("netdrivers: `updateonly` is for images of an installer and does nothing here"),
            _ => named.extend(driver(word, notes).filter(|name| !named.contains(name))),
        }
    }
    let take = match (all, named.is_empty()) {
        (true, _) => Take::All,
        (false, false) => Take::Named,
        (false, true) => Take::Nothing,
    };
    (named, take)
}

fn driver(word: &str, notes: &mut Notes) -> Option<String> {
    let name = word.strip_suffix(".ko").unwrap_or(word);
    let starts = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
        notes.problem(format!("netdrivers: `{word}` is not the name of a driver; separate names with commas"));
        return None;
    }
    Some(name.to_owned())
}

fn defaults(arch: Arch) -> Vec<&'static str> {
    let old: &[&str] = match arch {
        Arch::X86_64 | Arch::X86 => {
            &["tg3", "bnx2", "bnx2x", "e1000", "e1000e", "igb", "mlx_en", "virtio_net", "be2net"]
        }
        Arch::Aarch64 => &["tg3", "bnx2", "bnx2x", "e1000e", "igb", "mlx_en", "virtio_net"],
        Arch::Ppc64 => &["e1000", "e1000e", "igb", "ibmveth", "ehea"],
        // xCAT has none: what OpenPOWER and PowerVM machines and their guests have.
        Arch::Ppc64le => &["tg3", "bnx2x", "e1000e", "igb", "mlx_en", "be2net", "ibmveth", "ibmvnic", "virtio_net"],
        Arch::S390x => &["qdio", "ccwgroup"],
    };
    let modern = MODERN.iter().filter(|_| matches!(arch, Arch::X86_64 | Arch::Aarch64 | Arch::Ppc64le));
    let cloud = ["ena"].iter().filter(|_| matches!(arch, Arch::X86_64 | Arch::Aarch64));
    old.iter().chain(modern).chain(cloud).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_but_s390x_gets_network_cards_and_none_twice() {
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::Ppc64le, Arch::Ppc64, Arch::X86, Arch::S390x] {
            let mut drivers = defaults(arch);
            let count = drivers.len();
            drivers.sort_unstable();
            drivers.dedup();
            assert_eq!(drivers.len(), count, "{arch}");
        }
        assert!(defaults(Arch::Ppc64le).contains(&"ibmveth") && !defaults(Arch::Ppc64le).contains(&"ena"));
        assert_eq!(defaults(Arch::S390x), ["qdio", "ccwgroup"]);
    }
}
