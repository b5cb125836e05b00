//! The comps file of an rpm repository: groups of packages, and environments of groups.

use std::io::BufRead;

use super::file::Damage;
use super::stock::{Group, Stock};
use super::xml::{Token, Xml, gather};

/// Fedora has two hundred groups.
const MAX_GROUPS: usize = 2_000;
/// Names and packages of one; `@everything` of some media is long.
const MAX_ENTRIES: usize = 50_000;

/// What the text at hand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Other,
    Id,
    Name,
    Package,
    Group,
}

/// Adds groups and environments. Of a group's packages those that are mandatory, default or conditional count, of an
/// environment's groups all.
pub(super) fn read(document: impl BufRead, stock: &mut Stock) -> Result<(), Damage> {
    let mut xml = Xml::new(document, "comps");
    let (mut group, mut kind, mut said) = (None::<Group>, Text::Other, String::new());
    loop {
        let depth = xml.depth();
        match xml.next()? {
            Token::Open(tag) => {
                kind = match (depth, tag.name()) {
                    (1, "group" | "environment") => {
                        group = Some(Group::default());
                        Text::Other
                    }
                    (2, "id") => Text::Id,
                    (2, "name") => Text::Name,
                    (3, "packagereq") if tag.attribute("type").as_deref() != Some("optional") => Text::Package,
                    (3, "groupid") => Text::Group,
                    _ => Text::Other,
                };
                said.clear();
            }
            Token::Text(piece) if kind != Text::Other => gather(&mut said, &piece)?,
            Token::Close => {
                if let Some(group) = &mut group {
                    take(group, std::mem::replace(&mut kind, Text::Other), said.trim(), stock)?;
                }
                if depth == 2 {
                    stock.groups.extend(group.take());
                }
                if stock.groups.len() > MAX_GROUPS {
                    return Err(Damage::Content(format!("it has more than {MAX_GROUPS} groups")));
                }
            }
            Token::End => return Ok(()),
            Token::Text(_) | Token::Other => {}
        }
    }
}

fn take(group: &mut Group, kind: Text, text: &str, stock: &mut Stock) -> Result<(), Damage> {
    if group.names.len() + group.packages.len() + group.groups.len() > MAX_ENTRIES {
        return Err(Damage::Content(format!("a group has more than {MAX_ENTRIES} entries")));
    }
    match kind {
        Text::Id => group.id = stock.owned(text)?,
        Text::Name => group.names.push(stock.owned(text)?),
        Text::Package => group.packages.push(stock.owned(text)?),
        Text::Group => group.groups.push(stock.owned(text)?),
        Text::Other => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_environments_are_read_without_what_is_optional() {
        let text = r#"<?xml version="1.0"?><!DOCTYPE comps PUBLIC "-//x//EN" "comps.dtd"><comps>
            <group><id>core</id><name>Core</name><name xml:lang="de">Kern &amp; Mehr</name><description>d</description>
              <packagelist><packagereq type="mandatory">bash</packagereq><packagereq type="default">vim</packagereq>
              <packagereq type="optional">nano</packagereq><packagereq>old</packagereq></packagelist></group>
            <environment><id>minimal</id><name>Minimal Install</name>
              <grouplist><groupid>core</groupid></grouplist><optionlist><groupid>standard</groupid></optionlist>
            </environment></comps>"#;
        let mut stock = Stock::default();
        read(text.as_bytes(), &mut stock).unwrap();
        let groups = &stock.groups;
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].id, "core");
        assert_eq!(groups[0].names, strings(&["Core", "Kern & Mehr"]));
        assert_eq!(groups[0].packages, strings(&["bash", "vim", "old"]));
        assert_eq!(groups[1].groups, strings(&["core", "standard"]));
        assert!(read("<metadata/>".as_bytes(), &mut stock).is_err());
    }
}
