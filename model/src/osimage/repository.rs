//! One entry of `pkgdir` and `otherpkgdir`: a directory or a URL, in apt's words where the system is Debian's.
//!
//! `[trusted=yes signed-by=/path/key.gpg] http://host/path suite component component`, of which only the place is
//! required (XCAT.md 1.2, 6.9). The options in front are apt's own; xCAT trusts everything, here it must be said.

use std::path::PathBuf;
use std::str::FromStr;

/// A repository as the definition words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryEntry {
    /// Where it is.
    pub location: Location,
    /// apt: the suite, where the entry names it.
    pub suite: Option<String>,
    /// apt: the components, where the entry names them.
    pub components: Vec<String>,
    /// Whether signatures are to be left unchecked (`[trusted=yes]`).
    pub trusted: bool,
    /// The key to check signatures with (`[signed-by=…]`).
    pub signed_by: Option<PathBuf>,
    /// The entry's own words, for messages.
    pub source: String,
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory of the MN.
    Local(PathBuf),
    /// Behind `http://`, `https://` or `ftp://`.
    Url(String),
}

/// Why an entry can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRepository {
    /// Neither a URL nor an absolute path.
    #[error(
        "`{0}` is neither an absolute directory nor an http, https or ftp URL; write `/path`, `http://host/path` or, for apt, `http://host/path suite component…`"
    )]
    Place(String),
    /// An option in brackets that is not known.
    #[error("`[{0}]` is not an option of a repository; known are trusted=yes, trusted=no and signed-by=/path/key")]
    Option(String),
    /// `[` without `]`.
    #[error("`{0}` opens options with `[` and never closes them; write `[trusted=yes] /path`")]
    Unclosed(String),
    /// A `signed-by` that is no absolute path.
    #[error("`signed-by={0}` must be the absolute path of a key file")]
    Key(String),
    /// A suite or component that is no word of apt's.
    #[error("`{0}` can't be a suite or component; letters, digits and . _ + ~ / - are allowed, and no `..`")]
    Word(String),
    /// A component without a suite that can have it.
    #[error("`{0}`: a suite that ends in `/` has no components")]
    FlatComponents(String),
}

/// The entries of a comma list of repositories; commas in brackets do not separate.
pub fn split_repositories(value: &str) -> Vec<&str> {
    let mut in_brackets = false;
    let separates = |c: char| {
        in_brackets = (in_brackets || c == '[') && c != ']';
        c == ',' && !in_brackets
    };
    value.split(separates).map(str::trim).filter(|entry| !entry.is_empty()).collect()
}

impl FromStr for RepositoryEntry {
    type Err = InvalidRepository;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let source = text.trim();
        let rest = source.strip_prefix("deb ").unwrap_or(source).trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            None => ("", rest),
            Some(inside) => inside.split_once(']').ok_or_else(|| InvalidRepository::Unclosed(source.to_owned()))?,
        };
        let mut words = rest.split_whitespace();
        let location =
            words.next().and_then(Location::parse).ok_or_else(|| InvalidRepository::Place(source.to_owned()))?;
        let mut entry = Self {
            location,
            suite: words.next().map(str::to_owned),
            components: words.map(str::to_owned).collect(),
            trusted: false,
            signed_by: None,
            source: source.to_owned(),
        };
        entry.take_options(options)?;
        if let Some(bad) = entry.suite.iter().chain(&entry.components).find(|word| !is_apt_word(word)) {
            return Err(InvalidRepository::Word(bad.clone()));
        }
        let flat = entry.suite.as_ref().is_some_and(|suite| suite.ends_with('/'));
        if flat && !entry.components.is_empty() {
            return Err(InvalidRepository::FlatComponents(source.to_owned()));
        }
        Ok(entry)
    }
}

/// Suites become paths and lines of sources.list.
fn is_apt_word(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+~/-".contains(c);
    word.chars().all(allowed) && !word.starts_with(['/', '-']) && !word.split('/').any(|part| part == "..")
}

impl RepositoryEntry {
    fn take_options(&mut self, options: &str) -> Result<(), InvalidRepository> {
        for option in options.split([' ', ',']).filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("trusted", "yes")) => self.trusted = true,
                Some(("trusted", "no")) => self.trusted = false,
                Some(("signed-by", key)) if key.starts_with('/') => self.signed_by = Some(key.into()),
                Some(("signed-by", key)) => return Err(InvalidRepository::Key(key.to_owned())),
                _ => return Err(InvalidRepository::Option(option.to_owned())),
            }
        }
        Ok(())
    }
}

impl Location {
    fn parse(word: &str) -> Option<Self> {
        let path = word.strip_prefix("file://").unwrap_or(word);
        if path.starts_with('/') {
            return Some(Self::Local(path.into()));
        }
        let (scheme, rest) = word.split_once("://")?;
        let host = rest.split('/').next().is_some_and(|host| !host.is_empty());
        let clean = word.chars().all(|c| c.is_ascii_graphic() && !"\"'<>\\^`{|}[]".contains(c));
        (matches!(scheme, "http" | "https" | "ftp") && host && clean).then(|| Self::Url(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_in_apts_words() {
        let entry: RepositoryEntry =
            "[trusted=yes signed-by=/k/a.gpg] http://mn/debian bookworm main contrib".parse().unwrap();
        assert_eq!(entry.location, Location::Url("http://mn/debian".into()));
        assert_eq!((entry.suite.as_deref(), entry.components.len()), (Some("bookworm"), 2));
        assert!(entry.trusted && entry.signed_by.as_deref() == Some("/k/a.gpg".as_ref()));
        let entry: RepositoryEntry = "file:///install/a".parse().unwrap();
        assert_eq!(entry.location, Location::Local("/install/a".into()));
    }

    #[test]
    fn entries_that_mean_nothing_are_refused() {
        use InvalidRepository as Bad;
        let table = [
            ("install/debian12", Bad::Place("install/debian12".into())),
            ("http:///path", Bad::Place("http:///path".into())),
            ("gopher://x/y", Bad::Place("gopher://x/y".into())),
            ("[trusted=yes]", Bad::Place("[trusted=yes]".into())),
            ("[trusted=yes /a", Bad::Unclosed("[trusted=yes /a".into())),
            ("[thrusted=yes] /a", Bad::Option("thrusted=yes".into())),
            ("[signed-by=k.gpg] /a", Bad::Key("k.gpg".into())),
            ("/a ../../etc main", Bad::Word("../../etc".into())),
            ("http://a/b x /main", Bad::Word("/main".into())),
            ("http://a/b\"c", Bad::Place("http://a/b\"c".into())),
            ("/a ./ main", Bad::FlatComponents("/a ./ main".into())),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<RepositoryEntry>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn commas_in_brackets_do_not_separate_entries() {
        let value = "[trusted=yes,signed-by=/k] /a, http://b/c d e,,";
        assert_eq!(split_repositories(value), ["[trusted=yes,signed-by=/k] /a", "http://b/c d e"]);
    }
}
