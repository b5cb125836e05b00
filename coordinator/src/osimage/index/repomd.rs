//! `repodata/repomd.xml`: the index of a repository's indexes, each with its place and checksum.

use std::io::BufRead;

use super::file::{Checksum, Damage};
use super::xml::{Token, Xml, gather};

/// A repository has a dozen or two.
const MAX_ENTRIES: usize = 256;

/// One index.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// `primary`, `group`, `modules`…
    pub(super) kind: String,
    /// Where it lies, from the repository's top.
    pub(super) place: String,
    pub(super) checksum: Checksum,
    /// It lies at an address of its own, not here.
    pub(super) elsewhere: bool,
}

/// Every index that is named.
pub(super) fn read(document: impl BufRead) -> Result<Vec<Entry>, Damage> {
    let mut xml = Xml::new(document, "repomd");
    let (mut entries, mut entry, mut text, mut checksum) = (Vec::new(), Entry::default(), String::new(), None);
    loop {
        let depth = xml.depth();
        match xml.next()? {
            Token::Open(tag) if depth == 1 && tag.name() == "data" => {
                entry = Entry { kind: tag.attribute("type").unwrap_or_default(), ..Entry::default() };
            }
            Token::Open(tag) if depth == 2 && tag.name() == "checksum" => {
                text.clear();
                checksum = Some(tag.attribute("type").unwrap_or_default());
            }
            Token::Open(tag) if depth == 2 && tag.name() == "location" => {
                entry.elsewhere = tag.attribute("xml:base").is_some();
                entry.place = within(tag.attribute("href").unwrap_or_default())?;
            }
            Token::Text(piece) if checksum.is_some() => gather(&mut text, &piece)?,
            Token::Close if depth == 3 => {
                if let Some(kind) = checksum.take() {
                    entry.checksum = Checksum::named(&kind, text.trim());
                }
            }
            Token::Close if depth == 2 && !entry.kind.is_empty() => {
                if entries.len() == MAX_ENTRIES {
                    return Err(Damage::Content(format!("it names more than {MAX_ENTRIES} indexes")));
                }
                entries.push(std::mem::take(&mut entry));
            }
            Token::End => return Ok(entries),
            _ => {}
        }
    }
}

/// A place must lie in the repository.
fn within(place: String) -> Result<String, Damage> {
    let leaves = place.starts_with('/') || place.split('/').any(|part| part == "..");
    if leaves || place.is_empty() {
        return Err(Damage::Content(format!("it names an index outside the repository, `{place:.200}`")));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = r#"<repomd xmlns="x"><revision>1</revision>
        <data type="primary"><checksum type="sha256">AB</checksum><open-checksum type="sha256">cd</open-checksum>
          <location href="repodata/a-primary.xml.gz"/><size>3</size></data>
        <data type="group"><location xml:base="http://b" href="repodata/comps.xml"/></data></repomd>"#;

    #[test]
    fn each_index_has_its_place_and_its_own_checksum() {
        let entries = read(SOUND.as_bytes()).unwrap();
        let places: Vec<_> = entries.iter().map(|entry| (entry.kind.as_str(), entry.place.as_str())).collect();
        assert_eq!(places, [("primary", "repodata/a-primary.xml.gz"), ("group", "repodata/comps.xml")]);
        assert_eq!(entries[0].checksum, Checksum::Sha256("ab".into()));
        assert_eq!(entries[1].checksum, Checksum::None);
        assert_eq!((entries[0].elsewhere, entries[1].elsewhere), (false, true));
    }

    #[test]
    fn an_index_outside_the_repository_is_refused() {
        for place in ["/etc/shadow", "../../x", "repodata/../../x", ""] {
            let text = SOUND.replace("repodata/comps.xml", place);
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("outside the repository"), "{place}: {error}");
        }
    }
}
