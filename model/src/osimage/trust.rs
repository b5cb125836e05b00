//! The trust that xCAT gives to every repository, spelled out in a definition that comes from there.
//!
//! xCAT never checks a signature; we do unless the definition says otherwise (DESIGN.md, Decisions). An importer of
//! xCAT's definitions calls this so that they go on building, and shows what it says.

use super::definition::Osimage;
use super::repository::{RepositoryEntry, split_repositories};
use crate::problem::Problem;

/// Puts `[trusted=yes]` in front of every repository that says nothing of its trust; one warning for each.
pub fn trust_as_xcat(osimage: &mut Osimage) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for name in ["pkgdir", "otherpkgdir"] {
        let Some(value) = osimage.get(name) else { continue };
        let entry = |text: &str| match text.parse::<RepositoryEntry>() {
            Ok(entry) if !text.contains('[') && entry.signed_by.is_none() => {
                let message = format!(
                    "{name} of `{}`: signatures of `{text}` are not checked, as in xCAT; take `[trusted=yes]` out, or write `[signed-by=/path/key]`, to have them checked",
                    osimage.name
                );
                warnings.push(Problem::new(message));
                format!("[trusted=yes] {text}")
            }
            _ => text.to_owned(),
        };
        let entries: Vec<String> = split_repositories(value).into_iter().map(entry).collect();
        osimage.attributes.insert(name.to_owned(), entries.join(","));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::osimage::AttributeChange;

    #[test]
    fn only_what_says_nothing_is_trusted_and_each_is_told() {
        let pkgdir = "/install/a,[signed-by=/k] http://b/c d e,http://f/g";
        let set = AttributeChange::Set { name: "pkgdir".into(), value: pkgdir.into() };
        let mut osimage = Osimage::create("a".parse().unwrap(), &[set], 0).unwrap();
        let warnings = trust_as_xcat(&mut osimage);
        let expected = "[trusted=yes] /install/a,[signed-by=/k] http://b/c d e,[trusted=yes] http://f/g";
        assert_eq!((osimage.get("pkgdir"), warnings.len()), (Some(expected), 2));
        assert_eq!((trust_as_xcat(&mut osimage), osimage.check()), (Vec::new(), Vec::new()));
    }
}
