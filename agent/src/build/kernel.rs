//! Which kernel goes into the image. Pure but for [`scan`]: by version, never the node's own, never a guess.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use model::plan::KernelChoice;

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

/// Looks for kernels and their modules.
pub fn scan(place: Place<'_>, root: &Path) -> Found {
    let modules = place.names("lib/modules", "");
    let in_boot = NAMES.iter().flat_map(|prefix| {
        let names = place.names("boot", prefix).into_iter();
        names.map(move |name| Kernel { version: name[prefix.len()..].to_owned(), file: root.join("boot").join(name) })
    });
    let with_modules = modules.iter().filter_map(|version| {
        let file = root.join("lib/modules").join(version).join("vmlinuz");
        file.is_file().then(|| Kernel { version: version.clone(), file })
    });
    sort(in_boot.chain(with_modules).collect(), &modules)
}

fn sort(kernels: Vec<Kernel>, modules: &[String]) -> Found {
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
    found.whole.sort_by(|a, b| compare(&b.version, &a.version));
    found
}

/// The kernel that the plan asks for.
pub fn choose(found: Found, choice: &KernelChoice) -> Result<Kernel, StageError> {
    let there = words(&found);
    let mut kernels = found.whole.into_iter();
    let (kernel, wanted) = match choice {
        KernelChoice::Newest => (kernels.next(), "a kernel with its modules".to_owned()),
        KernelChoice::Exactly { version } => {
            (kernels.find(|kernel| kernel.version == *version), format!("kernel {version} with its modules"))
        }
    };
    kernel.ok_or_else(|| {
        let hint = "name the kernel's package in the pkglist (Debian: linux-image-amd64, linux-image-powerpc64le), or correct kernelver";
        StageError::build(format!("the image does not hold {wanted}; {there}"), hint)
    })
}

fn words(found: &Found) -> String {
    let kernels = found.whole.iter().map(|kernel| kernel.version.clone());
    let all: Vec<String> = kernels.chain(found.halves.iter().cloned()).collect();
    if all.is_empty() { "there is none at all".to_owned() } else { format!("there is {}", all.join(", ")) }
}

/// Compares two releases as people do: numbers as numbers, `~` before everything.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (left, right) = (text(&mut a), text(&mut b));
        let order = ranks(left).cmp(ranks(right)).then_with(|| number(&mut a).cmp(&number(&mut b)));
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// A stretch without digits, by rank: `~`, the end, letters, everything else.
fn ranks(stretch: &[u8]) -> impl Iterator<Item = (u8, u8)> {
    let rank = |byte: &u8| match byte {
        b'~' => (0, 0),
        byte if byte.is_ascii_alphabetic() => (2, *byte),
        byte => (3, *byte),
    };
    stretch.iter().map(rank).chain([(1, 0)])
}

fn text<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    cut(rest, |byte| !byte.is_ascii_digit())
}

/// A number of any length, as its length and digits.
fn number<'a>(rest: &mut &'a [u8]) -> (usize, &'a [u8]) {
    let digits = cut(rest, u8::is_ascii_digit);
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    (digits.len() - zeros, &digits[zeros..])
}

fn cut<'a>(rest: &mut &'a [u8], belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = rest.iter().position(|byte| !belongs(byte)).unwrap_or(rest.len());
    let (stretch, tail) = rest.split_at(end);
    *rest = tail;
    stretch
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
    fn releases_are_ordered_by_number() {
        for (newer, older) in [
            ("5.14.0-427.13.1.el9_4.x86_64", "5.14.0-70.22.1.el9_0.x86_64"),
            ("6.1.0-10-amd64", "6.1.0-9-amd64"),
            ("6.12.107+deb13-powerpc64le", "6.12.9+deb13-powerpc64le"),
            ("6.1.0", "6.1.0~rc3"),
            ("6.1.0-50-cloud-amd64", "6.1.0-50-amd64"),
            ("10.0", "9.99"),
            ("5.4.0-150-generic", "5.4.0"),
        ] {
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} > {older}");
            assert_eq!(compare(older, newer), Ordering::Less, "{older} < {newer}");
        }
        assert_eq!(compare("6.1.0-50", "6.1.0-050"), Ordering::Equal);
    }

    #[test]
    fn the_newest_whole_kernel_is_chosen() {
        let modules = ["5.14.0-70", "5.14.0-427", "6.0.0"].map(String::from);
        let found = sort(kernels(&["5.14.0-70", "5.14.0-427", "0-rescue"]), &modules);
        assert_eq!(found.halves, ["modules without a kernel: 6.0.0", "kernel without modules: 0-rescue"]);
        assert_eq!(choose(found.clone(), &KernelChoice::Newest).unwrap().version, "5.14.0-427");
        let exactly = |version: &str| KernelChoice::Exactly { version: version.to_owned() };
        assert_eq!(choose(found.clone(), &exactly("5.14.0-70")).unwrap().version, "5.14.0-70");
        let error = choose(found, &exactly("6.0.0")).unwrap_err();
        let there = "5.14.0-427, 5.14.0-70, modules without a kernel: 6.0.0, kernel without modules: 0-rescue";
        assert_eq!(error.cause, format!("the image does not hold kernel 6.0.0 with its modules; there is {there}"));
    }

    #[test]
    fn an_image_without_kernel_is_refused() {
        let error = choose(Found::default(), &KernelChoice::Newest).unwrap_err();
        assert_eq!(error.cause, "the image does not hold a kernel with its modules; there is none at all");
    }
}
