//! Reading of list files with their includes, as pkglist and exlist have them in common (XCAT.md 3.1, 3.3, 4).
//!
//! Files come through a function of the caller, so nothing here touches a disk. An include is textual and counts
//! from the directory of the top-level file at every depth, as in xCAT; unlike there, a loop is found and shown,
//! and what can't be read is reported with the line that asked for it. Depth, number and size are bounded.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::problem::Problem;

/// How the caller reads a file; it should refuse what is not a regular file or too large.
pub type ReadFile<'a> = dyn FnMut(&Path) -> io::Result<Vec<u8>> + 'a;

/// Kits nest three deep; more than this is a loop under changing names.
const MAX_DEPTH: usize = 32;
/// Includes are repeated on purpose (kits), but two files that include each other's double grow without end.
const MAX_FILES: usize = 2_000;
/// The text of one attribute's lists, includes repeated.
const MAX_BYTES: usize = 16 << 20;
/// What opens an include.
pub(crate) const INCLUDE: &str = "#INCLUDE:";

/// A line of a list with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The text, without blanks at its end.
    pub(crate) text: String,
    /// Where.
    pub(crate) at: Place,
}

/// A line's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    file: Rc<Path>,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Reads the top-level files of one attribute; what is wrong and what was read gathers in it.
pub(crate) struct ListReader<'a, 'f> {
    /// The attribute, for messages: `pkglist`.
    attribute: &'static str,
    /// What `$VAR` in an include's path stands for; `None` leaves the path as it is.
    variables: Option<&'a BTreeMap<String, String>>,
    read: &'a mut ReadFile<'f>,
    bytes: usize,
    /// Every file read, in order, each once.
    pub(crate) files: Vec<PathBuf>,
    opened: usize,
    /// Whether `#INCLUDE:` means anything in these files.
    follow: bool,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
}

impl<'a, 'f> ListReader<'a, 'f> {
    pub(crate) fn new(
        attribute: &'static str,
        variables: Option<&'a BTreeMap<String, String>>,
        read: &'a mut ReadFile<'f>,
    ) -> Self {
        Self { attribute, variables, read, bytes: 0, files: Vec::new(), opened: 0, follow: true, problems: Vec::new() }
    }

    /// The lines of a top-level file with every include in its place.
    pub(crate) fn lines(&mut self, top: &Path) -> Vec<Line> {
        let mut lines = Vec::new();
        match self.open(top) {
            Ok(bytes) => {
                let base = top.parent().unwrap_or(Path::new("/")).to_owned();
                self.flatten(&base, &mut vec![top.to_owned()], &bytes, &mut lines);
            }
            Err(reason) => self.problems.push(Problem::new(match reason {
                Unread::Missing => format!("The {} specified '{}' does not exist!", self.attribute, top.display()),
                Unread::Other(reason) => format!("cannot open the {} `{}`: {reason}", self.attribute, top.display()),
            })),
        }
        lines
    }

    /// The lines of a file of a kind that has no includes.
    pub(crate) fn lines_without_includes(&mut self, file: &Path) -> Vec<Line> {
        self.follow = false;
        self.lines(file)
    }

    fn flatten(&mut self, base: &Path, chain: &mut Vec<PathBuf>, bytes: &[u8], lines: &mut Vec<Line>) {
        let file: Rc<Path> = chain.last().map_or(base, PathBuf::as_path).into();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        for (index, raw) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let at = Place { file: Rc::clone(&file), line: index + 1 };
            let Some(text) = self.text(raw, &at) else { continue };
            if self.follow && text.trim_start().starts_with(INCLUDE) {
                if let Some(path) = self.included(text.trim_start(), &at) {
                    self.include(base, chain, &base.join(path), &at, lines);
                }
            } else if !text.is_empty() {
                lines.push(Line { text: text.to_owned(), at });
            }
        }
    }

    fn text<'t>(&mut self, raw: &'t [u8], at: &Place) -> Option<&'t str> {
        let Ok(text) = str::from_utf8(raw) else {
            self.problems.push(Problem::at(
                at,
                "this line is not UTF-8 text; convert the file, for example by `iconv -f LATIN1 -t UTF-8`",
            ));
            return None;
        };
        let text = text.trim_end();
        if let Some(bad) = text.chars().find(|&c| c.is_control() && c != '\t') {
            self.problems.push(Problem::at(at, format!("this line holds {bad:?}; is it a text file?")));
            return None;
        }
        Some(text)
    }

    /// The path that an include directive names.
    fn included(&mut self, directive: &str, at: &Place) -> Option<String> {
        let path = match directive[INCLUDE.len()..].split_once('#') {
            None => Err("this include is not closed; write `#INCLUDE:path#`".to_owned()),
            Some((_, rest)) if !rest.trim().is_empty() => {
                Err(format!("`{}` follows the include on its line; give it a line of its own", rest.trim()))
            }
            Some((path, _)) if path.trim().is_empty() => Err("this include names no file".to_owned()),
            Some((path, _)) => match self.variables {
                Some(variables) => expand(path.trim(), variables),
                None => Ok(path.trim().to_owned()),
            },
        };
        path.map_err(|message| self.problems.push(Problem::at(at, message))).ok()
    }

    fn include(&mut self, base: &Path, chain: &mut Vec<PathBuf>, path: &Path, at: &Place, lines: &mut Vec<Line>) {
        if let Some(first) = chain.iter().position(|open| open == path) {
            let shown: Vec<_> = chain[first..].iter().map(|open| format!("`{}`", open.display())).collect();
            let message =
                format!("include loop: {} -> `{}`; remove one of the includes", shown.join(" -> "), path.display());
            return self.problems.push(Problem::at(at, message));
        }
        if chain.len() >= MAX_DEPTH {
            let message = format!("includes are nested more than {MAX_DEPTH} deep; is there a loop?");
            return self.problems.push(Problem::at(at, message));
        }
        match self.open(path) {
            Ok(bytes) => {
                chain.push(path.to_owned());
                self.flatten(base, chain, &bytes, lines);
                chain.pop();
            }
            // The bound is met once for every include that is left; it is said once.
            Err(Unread::Other(reason)) if reason.starts_with(BOUND) => {
                if !self.problems.iter().any(|problem| problem.message.contains(BOUND)) {
                    self.problems.push(Problem::at(at, reason));
                }
            }
            Err(reason) => {
                self.problems.push(Problem::at(at, format!("cannot open {}: {}", path.display(), reason.text())));
            }
        }
    }

    fn open(&mut self, path: &Path) -> Result<Vec<u8>, Unread> {
        if self.opened >= MAX_FILES || self.bytes >= MAX_BYTES {
            return Err(Unread::Other(format!(
                "{BOUND} {MAX_FILES} files or {} MiB with all includes",
                MAX_BYTES >> 20
            )));
        }
        self.opened += 1;
        let bytes = (self.read)(path).map_err(|error| Unread::from(&error))?;
        self.bytes += bytes.len();
        if !self.files.iter().any(|known| known == path) {
            self.files.push(path.to_owned());
        }
        Ok(bytes)
    }
}

const BOUND: &str = "the list comes to more than";

/// Why a file could not be read.
enum Unread {
    Missing,
    Other(String),
}

impl Unread {
    fn text(&self) -> &str {
        match self {
            Self::Missing => "there is no such file",
            Self::Other(reason) => reason,
        }
    }
}

impl From<&io::Error> for Unread {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Other("permission denied".to_owned()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Puts values in the place of `$VAR` and `${VAR}`; a variable that is not set is an error, where xCAT takes it
/// as empty and then misses the file.
pub(crate) fn expand(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut parts = text.split('$');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = match part.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or_else(|| format!("`${part}` has no closing `}}`"))?,
            None => {
                let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
                part.split_at(end)
            }
        };
        let value = variables.get(name).ok_or_else(|| match name.is_empty() {
            true => "`$` must be followed by the name of a variable".to_owned(),
            false => format!("the variable `${name}` is not set; set it in environvar"),
        })?;
        expanded.push_str(value);
        expanded.push_str(rest);
    }
    Ok(expanded)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
