//! The update of everything that xCAT ties to an otherpkglist, spelled out in a definition that comes from there.
//!
//! xCAT updates the whole image after each otherpkgs pass, whoever asked; here nothing is updated unless `update` says
//! so. An importer of stanzas calls [`update_as_xcat`]; the writer of stanzas asks [`silent_about_updates`], so that
//! our own definitions mean the same when they are read again.

use super::definition::Osimage;
use crate::problem::Problem;

/// Whether this definition says nothing where xCAT would update everything.
pub fn silent_about_updates(osimage: &Osimage) -> bool {
    osimage.get("otherpkglist").is_some() && osimage.get("update").is_none()
}

/// Sets `update=otherpkgs` where xCAT would do that; gives the warning to show.
pub fn update_as_xcat(osimage: &mut Osimage) -> Option<Problem> {
    silent_about_updates(osimage).then(|| {
        osimage.attributes.insert("update".to_owned(), "otherpkgs".to_owned());
        Problem::new(format!(
            "update of `{}` is set to `otherpkgs`: every package is brought up to date after each otherpkgs pass, as in xCAT; set update=no to install nothing but what the lists name",
            osimage.name
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza;

    fn read(stanzas: &str) -> Osimage {
        stanza::read_definitions("s", stanzas.as_bytes(), 0).unwrap().remove(0).1
    }

    #[test]
    fn a_definition_of_xcat_updates_as_xcat_does_and_ours_keeps_its_meaning() {
        let xcat = "a:\n    objtype=osimage\n    otherpkglist=/l/o\n";
        let mut osimage = read(xcat);
        assert!(update_as_xcat(&mut osimage).unwrap().message.contains("update=no"));
        assert_eq!(osimage.get("update"), Some("otherpkgs"));
        assert_eq!(update_as_xcat(&mut osimage), None);
        // Ours, which says nothing and means no.
        let ours = read(xcat);
        let mut again = read(&stanza::write([&ours]));
        assert_eq!(again.get("update"), Some("no"));
        assert_eq!(update_as_xcat(&mut again), None);
        assert_eq!(update_as_xcat(&mut read("a:\n    objtype=osimage\n    pkglist=/l/o\n")), None);
    }
}
