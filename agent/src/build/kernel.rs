//! Which kernel goes into the image. Pure but for [`scan`]: the one that is named, else the only one; never the node's
//! own, never a guess.

pub mod available;
pub mod release;

use std::cmp::Ordering;
use std::path::PathBuf;

use model::plan::{KernelChoice, PackageSystem};
use model::version::{dpkg_order, rpm_order};

use super::failure::StageError;
use super::place::Place;

/// What kernels are called in `/boot`; ppc64le's is not compressed.
const NAMES: [&str; 3] = ["vmlinuz-", "vmlinux-", "image-"];

/// A kernel in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// As `uname -r` will say.
    pub version: String,
    /// Where it stands in the image.
    pub file: PathBuf,
}

/// The kernels of an image, and releases of which there is only one half.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Kernel and modules are there; newest first.
    pub whole: Vec<Kernel>,
    /// Kernels without modules and modules without kernel, in words.
    pub halves: Vec<String>,
}

/// How the distribution orders releases.
pub type Order = fn(&str, &str) -> Ordering;

/// The order that goes with a package system.
pub fn order(system: &PackageSystem) -> Order {
    match system {
        PackageSystem::Apt { .. } => dpkg_order,
        PackageSystem::Dnf { .. } | PackageSystem::Zypper => rpm_order,
    }
}

/// Looks for kernels and their modules.
pub fn scan(place: Place<'_>, order: Order) -> Found {
    let modules = place.names("lib/modules", "");
    let kernel =
        |name: String, version: &str| place.file(&name).map(|file| Kernel { version: version.to_owned(), file });
    let in_boot = NAMES.iter().flat_map(|prefix| {
        let names = place.names("boot", prefix).into_iter();
        names.filter_map(move |name| kernel(format!("boot/{name}"), &name[prefix.len()..]))
    });
    let with_modules = modules.iter().filter_map(|version| kernel(format!("lib/modules/{version}/vmlinuz"), version));
    sort(in_boot.chain(with_modules).collect(), &modules, order)
}

fn sort(kernels: Vec<Kernel>, modules: &[String], order: Order) -> Found {
    let mut found = Found::default();
    for version in modules.iter().filter(|version| !kernels.iter().any(|kernel| kernel.version == **version)) {
        found.halves.push(format!("modules without a kernel: {version}"));
    }
    for kernel in kernels {
        if !modules.contains(&kernel.version) {
            found.halves.push(format!("kernel without modules: {}", kernel.version));
        } else if !found.whole.iter().any(|known| known.version == kernel.version) {
            found.whole.push(kernel);
        }
    }
    found.whole.sort_by(|a, b| order(&b.version, &a.version));
    found
}

/// The kernel that the plan asks for. An image is always built fresh, so several are in it only if its lists ask for
/// several, and then they must say which one boots.
pub fn choose(mut found: Found, choice: &KernelChoice) -> Result<Kernel, StageError> {
    let there = words(&found);
    let (wanted, position) = match choice {
        KernelChoice::Only if found.whole.len() > 1 => return Err(ambiguous(&found.whole)),
        KernelChoice::Only => ("the image does not hold a kernel with its modules".to_owned(), Some(0)),
        KernelChoice::Exactly { version } => (
            format!("couldn't find the kernel file matched {version} in the image's /boot, with its modules"),
            found.whole.iter().position(|kernel| kernel.version == *version),
        ),
    };
    match position.filter(|position| *position < found.whole.len()) {
        Some(position) => Ok(found.whole.swap_remove(position)),
        None => Err(StageError::build(format!("{wanted}; {there}"), NO_KERNEL)),
    }
}

/// Refuses a kernel that would look for its modules under another release than they have, as far as its file tells.
pub fn fits(kernel: &Kernel) -> Result<(), StageError> {
    let own = release::of(&kernel.file).map_err(StageError::file("read", &kernel.file))?;
    match own.filter(|own| *own != kernel.version) {
        None => Ok(()),
        Some(own) => Err(StageError::build(
            format!(
                "kernel and modules don't match: the kernel that is there as {} calls itself {own}, and would find no \
                 modules",
                kernel.version
            ),
            "install kernel and modules from the same packages; one of the two was renamed or replaced by hand",
        )),
    }
}

/// What helps where nothing is installed.
pub const ONLY_INITRD: &str = "--onlyinitrd takes the kernel that is in the tree; `imgctl genimage` without it installs \
    the one that is named";

const NO_KERNEL: &str = "name the kernel's package in the pkglist (RPM systems: kernel; Debian: linux-image-amd64, \
    linux-image-powerpc64le), or correct kernelver";

fn ambiguous(kernels: &[Kernel]) -> StageError {
    let versions: Vec<&str> = kernels.iter().map(|kernel| kernel.version.as_str()).collect();
    let newest = versions.first().copied().unwrap_or_default();
    StageError::build(
        format!("the image holds several kernels and none is named: {}", versions.join(", ")),
        format!(
            "name one: kernelver= in the osimage, or `-k {newest}` (the newest) for one build; or name fewer in the lists"
        ),
    )
}

fn words(found: &Found) -> String {
    let kernels = found.whole.iter().map(|kernel| kernel.version.clone());
    let all: Vec<String> = kernels.chain(found.halves.iter().cloned()).collect();
    if all.is_empty() { "there is none at all".to_owned() } else { format!("there is {}", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels(versions: &[&str]) -> Vec<Kernel> {
        versions
            .iter()
            .map(|v| Kernel { version: (*v).to_owned(), file: format!("/boot/vmlinuz-{v}").into() })
            .collect()
    }

    #[test]
    fn one_of_several_is_never_guessed() {
        let modules = ["5.14.0-70", "5.14.0-427", "6.0.0"].map(String::from);
        let found = sort(kernels(&["5.14.0-70", "5.14.0-427", "0-rescue"]), &modules, rpm_order);
        assert_eq!(found.halves, ["modules without a kernel: 6.0.0", "kernel without modules: 0-rescue"]);
        let error = choose(found.clone(), &KernelChoice::Only).unwrap_err();
        assert_eq!(error.cause, "the image holds several kernels and none is named: 5.14.0-427, 5.14.0-70");
        assert!(error.hint.contains("`-k 5.14.0-427` (the newest)"), "{}", error.hint);
        let alone = sort(kernels(&["5.14.0-70"]), &modules, rpm_order);
        assert_eq!(choose(alone, &KernelChoice::Only).unwrap().version, "5.14.0-70");
        let exactly = |version: &str| KernelChoice::Exactly { version: version.to_owned() };
        assert_eq!(choose(found.clone(), &exactly("5.14.0-70")).unwrap().version, "5.14.0-70");
        let error = choose(found, &exactly("6.0.0")).unwrap_err();
        let there = "5.14.0-427, 5.14.0-70, modules without a kernel: 6.0.0, kernel without modules: 0-rescue";
        let wanted = "couldn't find the kernel file matched 6.0.0 in the image's /boot, with its modules";
        assert_eq!(error.cause, format!("{wanted}; there is {there}"));
    }

    #[test]
    fn an_image_without_kernel_is_refused() {
        let error = choose(Found::default(), &KernelChoice::Only).unwrap_err();
        assert_eq!(error.cause, "the image does not hold a kernel with its modules; there is none at all");
    }
}
