//! xCAT's stanza files: what `lsdef -z` prints and `mkdef -z` reads (XCAT.md 1.4, 1.5).
//!
//! The grammar is xCAT's, the strictness is ours: xCAT drops whatever follows a line that it doesn't understand;
//! here every such line is reported with its place and nothing is returned. Writing quotes a value only where a
//! raw one would not be read back as the same; xCAT's own reader takes those quotes off as well.

use std::collections::BTreeMap;

use crate::name::ImageName;
use crate::osimage::attribute::{OBJTYPE, OSIMAGE};
use crate::osimage::{AttributeChange, Osimage, silent_about_updates};
use crate::problem::Problem;

/// The first line of every stanza file.
pub const HEADER: &str = "# <xCAT data object stanza file>";
/// What the name of a stanza of defaults begins with.
const DEFAULT: &str = "default-";

/// One object of a stanza file, with all stanzas of its name merged and defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza {
    /// The object's name as written.
    pub name: String,
    /// `source:line` of its first header.
    pub at: String,
    /// The attributes without `objtype`, by name.
    pub attributes: BTreeMap<String, StanzaValue>,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StanzaValue {
    /// The value; empty means unset.
    pub value: String,
    /// `source:line`.
    pub at: String,
}

/// Reads a stanza file; `source` is its name for messages (`stdin` for a pipe). Returns the objects in the order in
/// which they first appear, or every problem of the file.
pub fn read(source: &str, bytes: &[u8]) -> Result<Vec<Stanza>, Vec<Problem>> {
    let (stanzas, problems) = gather(source, bytes);
    if problems.is_empty() { Ok(stanzas) } else { Err(problems) }
}

/// Reads a stanza file and makes a definition of every object, or reports every problem of both: a line that can't
/// be read doesn't hide an attribute that is not known.
pub fn read_definitions(source: &str, bytes: &[u8], now_ms: i64) -> Result<Vec<(Stanza, Osimage)>, Vec<Problem>> {
    let (stanzas, mut problems) = gather(source, bytes);
    let made = definitions(&stanzas, now_ms).unwrap_or_else(|found| {
        problems.extend(found);
        Vec::new()
    });
    problems.sort_by_key(line_number);
    if problems.is_empty() { Ok(stanzas.into_iter().zip(made).collect()) } else { Err(problems) }
}

/// The objects that could be read, beside the problems of the rest.
fn gather(source: &str, bytes: &[u8]) -> (Vec<Stanza>, Vec<Problem>) {
    let mut reader = Reader { source, ..Reader::default() };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let at = format!("{source}:{}", number + 1);
        match str::from_utf8(line) {
            Ok(line) => reader.line(line.trim(), at),
            Err(_) => reader.problem(
                &at,
                "this line is not UTF-8 text; convert the file, for example by `iconv -f LATIN1 -t UTF-8`",
            ),
        }
    }
    reader.finish()
}

/// Writes definitions as one stanza file, in the order given.
pub fn write<'a>(osimages: impl IntoIterator<Item = &'a Osimage>) -> String {
    let mut text = format!("{HEADER}\n");
    for osimage in osimages {
        text.push_str(&format!("\n{}:\n    {OBJTYPE}={OSIMAGE}\n", osimage.name));
        let mut attributes: BTreeMap<&str, &str> =
            osimage.attributes.iter().map(|(name, value)| (name.as_str(), value.trim())).collect();
        // Whoever reads stanzas takes silence for xCAT's.
        if silent_about_updates(osimage) {
            attributes.insert("update", "no");
        }
        for (name, value) in attributes.into_iter().filter(|(_, value)| !value.is_empty()) {
            text.push_str(&format!("    {name}={}\n", written(value)));
        }
    }
    text
}

/// A value as it must be written to be read back as the same.
fn written(value: &str) -> String {
    let raw = !value.ends_with(':') && !value.starts_with('"') && !value.ends_with('"');
    if raw { value.to_owned() } else { format!("\"{value}\"") }
}

impl Stanza {
    /// The stanza as changes with their places, for `Osimage::create_at` and `Osimage::apply_at`.
    pub fn changes(&self) -> Vec<(AttributeChange, Option<String>)> {
        let change = |(name, found): (&String, &StanzaValue)| {
            let (name, value) = (name.clone(), found.value.clone());
            let change = match value.is_empty() {
                true => AttributeChange::Clear { name },
                false => AttributeChange::Set { name, value },
            };
            (change, Some(found.at.clone()))
        };
        self.attributes.iter().map(change).collect()
    }

    /// The stanza's name as the name of an osimage.
    pub fn image_name(&self) -> Result<ImageName, Problem> {
        self.name.parse().map_err(|error| Problem::at(&self.at, format!("{error}")))
    }
}

/// Makes a new definition of every stanza, or reports every problem of all of them.
pub fn definitions(stanzas: &[Stanza], now_ms: i64) -> Result<Vec<Osimage>, Vec<Problem>> {
    let (mut made, mut problems) = (Vec::new(), Vec::new());
    for stanza in stanzas {
        let name = stanza.image_name().map_err(|problem| problems.push(problem));
        // A bad name must not hide what is wrong with the attributes.
        let Ok(name) = name.or_else(|()| "nameless".parse()) else { continue };
        match Osimage::create_at(name, &stanza.changes(), now_ms) {
            Ok(osimage) => made.push(osimage),
            Err(found) => problems.extend(found.into_iter().map(|problem| problem.placed(Some(&stanza.at)))),
        }
    }
    problems.sort_by_key(line_number);
    if problems.is_empty() { Ok(made) } else { Err(problems) }
}

/// Problems are told in the order of the file.
fn line_number(problem: &Problem) -> usize {
    let number = problem.at.as_deref().and_then(|at| at.rsplit(':').next()?.parse().ok());
    number.unwrap_or_default()
}

/// What the lines that are being read belong to.
#[derive(Default)]
enum Owner {
    /// Nothing has been said yet.
    #[default]
    None,
    /// A header that could not be understood; what follows is not complained of again.
    Bad,
    /// The defaults of osimages.
    Defaults,
    /// The object of this index.
    Object(usize),
}

/// An object while it is being read.
struct Draft {
    stanza: Stanza,
    typed: bool,
}

#[derive(Default)]
struct Reader<'a> {
    source: &'a str,
    drafts: Vec<Draft>,
    by_name: BTreeMap<String, usize>,
    defaults: BTreeMap<String, StanzaValue>,
    owner: Owner,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, at: &str, message: impl Into<String>) {
        self.problems.push(Problem::at(at, message));
    }

    fn line(&mut self, line: &str, at: String) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        if let Some(bad) = line.chars().find(|&c| c.is_control() && c != '\t') {
            return self.problem(&at, format!("this line holds {bad:?}; is it a text file?"));
        }
        match line.strip_suffix(':') {
            Some(name) => self.header(name.trim(), at),
            None => self.attribute(line, at),
        }
    }

    fn header(&mut self, name: &str, at: String) {
        self.owner = Owner::Bad;
        if let Some((attribute, _)) = name.split_once('=') {
            let attribute = attribute.trim();
            return self.problem(&at, format!("a line that ends in `:` is the header of an object, and `=` can't be in its name; for a value that ends in `:` write {attribute}=\"…:\""));
        }
        if name.is_empty() {
            return self.problem(&at, "a header needs a name in front of its `:`");
        }
        match name.strip_prefix(DEFAULT) {
            Some(OSIMAGE) => self.owner = Owner::Defaults,
            Some(other) => self.problem(
                &at,
                format!(
                    "`{DEFAULT}{other}` sets defaults of objects of type `{other}`; only {OSIMAGE} is handled here"
                ),
            ),
            None => self.owner = Owner::Object(self.object(name, at)),
        }
    }

    fn object(&mut self, name: &str, at: String) -> usize {
        if let Some(&known) = self.by_name.get(name) {
            return known;
        }
        self.by_name.insert(name.to_owned(), self.drafts.len());
        let stanza = Stanza { name: name.to_owned(), at, attributes: BTreeMap::new() };
        self.drafts.push(Draft { stanza, typed: false });
        self.drafts.len() - 1
    }

    fn attribute(&mut self, line: &str, at: String) {
        let Some((name, value)) = line.split_once('=') else {
            return self.problem(&at, "this line is neither `name:` nor `attribute=value`");
        };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.contains(char::is_whitespace) {
            return self.problem(&at, format!("`{name}` can't be the name of an attribute; write `attribute=value`"));
        }
        let value = value.strip_prefix('"').unwrap_or(value);
        let value = value.strip_suffix('"').unwrap_or(value);
        let found = StanzaValue { value: value.trim().to_owned(), at };
        match self.owner {
            Owner::Bad => {}
            Owner::None => self.problem(&found.at, format!("`{name}` belongs to no object; begin with a line `name:`")),
            _ if name == OBJTYPE => self.objtype(found),
            Owner::Defaults if found.value.is_empty() => drop(self.defaults.remove(name)),
            Owner::Defaults => drop(self.defaults.insert(name.to_owned(), found)),
            Owner::Object(index) => drop(self.drafts[index].stanza.attributes.insert(name.to_owned(), found)),
        }
    }

    fn objtype(&mut self, found: StanzaValue) {
        if let Owner::Object(index) = self.owner {
            let draft = &mut self.drafts[index];
            draft.typed = true;
            for (name, value) in &self.defaults {
                draft.stanza.attributes.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        if found.value != OSIMAGE {
            let message = format!("objects of type `{}` are not handled here, only {OSIMAGE}", found.value);
            self.problem(&found.at, message);
        }
    }

    fn finish(mut self) -> (Vec<Stanza>, Vec<Problem>) {
        for draft in self.drafts.iter().filter(|draft| !draft.typed) {
            let name = &draft.stanza.name;
            let message = format!("No objtype value was specified for '{name}'. Cannot create object definition.");
            self.problems.push(Problem::at(&draft.stanza.at, message));
        }
        if self.drafts.is_empty() && self.problems.is_empty() {
            self.problems.push(Problem::at(self.source, "there is no object in it"));
        }
        self.problems.sort_by_key(line_number);
        (self.drafts.into_iter().map(|draft| draft.stanza).collect(), self.problems)
    }
}

#[cfg(test)]
mod tests;
