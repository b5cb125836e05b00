//! `kitcomponents`: held against the lists that bring the kits' packages (XCAT.md 11).
//!
//! xCAT's addkitcomp writes both, the attribute and the lists; only the lists are carried out. Where a definition was
//! put together by hand, one is easily forgotten.

use model::plan::Pass;

use super::notes::Notes;
use super::target::Target;

pub(super) fn check(target: &Target<'_>, other: &[Pass], notes: &mut Notes) {
    let Some(value) = target.osimage.get("kitcomponents") else { return };
    notes.given("kitcomponents", value);
    let names: Vec<&str> = other.iter().flat_map(|pass| &pass.install).map(|item| item.name.as_str()).collect();
    for component in target.osimage.list("kitcomponents") {
        if !names.iter().any(|name| is_of(component, name)) {
            notes.warn(format!(
                "kitcomponents names `{component}`, but no otherpkglist installs it: nothing of it will be in the image; \
                 add its KIT_COMPONENTS.otherpkgs.pkglist to otherpkglist, as `addkitcomp` does"
            ));
        }
    }
}

/// Whether a component is this package: its name is the package's, then release, repository and architecture.
fn is_of(component: &str, package: &str) -> bool {
    component.strip_prefix(package).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_its_package_with_a_version() {
        for (component, package, expected) in [
            ("pperte_compute-1.3-0-rhels9-x86_64", "pperte_compute", true),
            ("pperte_compute", "pperte_compute", true),
            ("pperte_compute_min-1.3-0-rhels9-x86_64", "pperte_compute", false),
            ("pperte-compute-1.3", "pperte", false),
            ("pperte", "pperte-devel", false),
        ] {
            assert_eq!(is_of(component, package), expected, "{component} {package}");
        }
    }
}
