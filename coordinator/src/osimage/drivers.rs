//! Drivers for the initrds: `netdrivers`, else a list for the architecture (XCAT.md 6.7).
//!
//! xCAT's lists end with the cards of their day; the newer ones are added. An agent takes those that its kernel has.

use model::arch::Arch;

use super::notes::Notes;
use super::target::Target;

/// In every initrd, as in xCAT.
const FILE_SYSTEMS: [&str; 2] = ["ext3", "ext4"];
/// Cards that xCAT has no default for (its issues 3599, 6805, 7781), on machines with PCI Express.
const MODERN: [&str; 5] = ["mlx5_core", "ice", "i40e", "ixgbe", "bnxt_en"];
/// Words of `netdrivers` that steer driver packages.
const NO_DRIVERS: [&str; 2] = ["allupdate", "updateonly"];

pub(super) fn choose(target: &Target<'_>, notes: &mut Notes) -> Vec<String> {
    let mut drivers: Vec<String> = match target.osimage.get("netdrivers") {
        Some(value) => {
            notes.given("netdrivers", value);
            target.osimage.list("netdrivers").into_iter().filter_map(|word| named(word, notes)).collect()
        }
        None => {
            let Some(arch) = target.arch else { return Vec::new() };
            let drivers = defaults(arch);
            notes.defaulted("netdrivers", &drivers.join(","), &format!("drivers for {arch}"));
            drivers.into_iter().map(str::to_owned).collect()
        }
    };
    for name in FILE_SYSTEMS {
        if !drivers.iter().any(|known| known == name) {
            drivers.push(name.to_owned());
        }
    }
    drivers
}

fn named(word: &str, notes: &mut Notes) -> Option<String> {
    if NO_DRIVERS.contains(&word) {
        notes.warn(format!("netdrivers: `{word}` steers driver packages, which are not carried out"));
        return None;
    }
    let name = word.strip_suffix(".ko").unwrap_or(word);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
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
