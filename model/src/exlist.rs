//! The grammar of `exlist`: what packimage leaves out of the archive (XCAT.md 4).
//!
//! A pattern keeps the meaning that `find -path` gives it. Patterns that can't match anything, or less than meant,
//! are kept and warned of; includes that can't be read are problems, where xCAT packs as if they were empty.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::listfile::{INCLUDE, Line, ListReader, ReadFile};
use crate::problem::Problem;

/// Left out of every archive, whatever the lists say.
pub const ALWAYS_EXCLUDED: [&str; 5] =
    ["./etc/init.d/statelite", "./etc/rc.sysinit.backup", "./.statelite*", "./.default*", "./.statebackup*"];

/// Directories that people exclude by their bare name, which leaves their content in.
const KNOWN_DIRECTORIES: [&str; 12] = [
    "./usr/share/man",
    "./usr/share/doc",
    "./usr/share/info",
    "./usr/share/i18n",
    "./usr/share/locale",
    "./usr/include",
    "./usr/src",
    "./usr/lib/locale",
    "./var/cache",
    "./var/lib/yum",
    "./var/cache/apt",
    "./var/lib/apt/lists",
];

/// One pattern with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The pattern, as `find -path` takes it: `./boot*`.
    pub pattern: String,
    /// `file:line`, or `built in`.
    pub at: String,
}

/// What the lists say: packed is what matches no exclude or any include; the order means nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludeLists {
    /// Patterns of what is left out, [`ALWAYS_EXCLUDED`] last.
    pub excludes: Vec<Rule>,
    /// Patterns of what is packed all the same.
    pub includes: Vec<Rule>,
    /// What the user should know though it stops nothing.
    pub warnings: Vec<Problem>,
    /// Every file that was read, includes too.
    pub files: Vec<PathBuf>,
}

/// Reads the files of the attribute, or returns every problem of all of them.
pub fn read(files: &[PathBuf], read: &mut ReadFile<'_>) -> Result<ExcludeLists, Vec<Problem>> {
    let mut reader = ListReader::new("exlist", None, read);
    let mut lists = ExcludeLists::default();
    let mut problems = Vec::new();
    for file in files {
        for line in reader.lines(file) {
            problems.extend(lists.line(&line));
        }
    }
    problems.splice(0..0, reader.problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    lists.files = reader.files;
    lists.warn_of_bare_directories();
    let built_in = |pattern: &str| Rule { pattern: pattern.to_owned(), at: "built in".to_owned() };
    lists.excludes.extend(ALWAYS_EXCLUDED.map(built_in));
    Ok(lists)
}

impl ExcludeLists {
    fn line(&mut self, line: &Line) -> Option<Problem> {
        let (text, comment) = line.text.split_once('#').unwrap_or((&line.text, ""));
        if format!("#{comment}").contains(INCLUDE) {
            let Line { at, .. } = line;
            if !text.trim().is_empty() {
                return Some(Problem::at(at, "an include must stand on a line of its own"));
            }
            self.warnings.push(Problem::at(at, "this include is in a comment and not followed; xCAT follows it"));
        }
        if text.trim().is_empty() {
            return None;
        }
        if text.starts_with(char::is_whitespace) {
            let message = "the blanks in front of the pattern are taken off; in xCAT they keep it from matching";
            self.warnings.push(Problem::at(&line.at, message));
        }
        self.rule(text.trim(), line)
    }

    fn rule(&mut self, text: &str, line: &Line) -> Option<Problem> {
        let (pattern, rules) = match text.strip_prefix('+') {
            Some(pattern) => (pattern, &mut self.includes),
            None => (text.strip_prefix('-').unwrap_or(text), &mut self.excludes),
        };
        let pattern = pattern.trim();
        if pattern.is_empty() {
            return Some(Problem::at(&line.at, format!("`{text}` names no path; write `-./path*` or `+./path*`")));
        }
        if let Some(reason) = never_matches(pattern) {
            self.warnings.push(Problem::at(&line.at, format!("`{pattern}` matches nothing: {reason}")));
        }
        rules.push(Rule { pattern: pattern.to_owned(), at: line.at.to_string() });
        None
    }

    /// `./boot` alone takes the directory's own entry out and leaves its content in the archive.
    fn warn_of_bare_directories(&mut self) {
        for rule in &self.excludes {
            let pattern = &rule.pattern;
            let top = pattern.strip_prefix("./").is_some_and(|rest| !rest.contains('/') && !rest.contains('.'));
            let known = KNOWN_DIRECTORIES.contains(&pattern.as_str());
            let child =
                |other: &Rule| other.pattern.strip_prefix(pattern.as_str()).is_some_and(|rest| rest.starts_with('/'));
            let parent = self.includes.iter().any(child);
            let content = |other: &Rule| {
                let rest = other.pattern.strip_prefix(pattern.as_str());
                rest.is_some_and(|rest| rest.starts_with('*') || rest.starts_with("/*"))
            };
            let wild = pattern.contains(['*', '?', '[']);
            if !wild && (top || known || parent) && !self.excludes.iter().any(content) {
                let message = format!(
                    "`{pattern}` leaves out the directory alone and packs its content; add `{pattern}/*` to leave that out too"
                );
                self.warnings.push(Problem::at(&rule.at, message));
            }
        }
    }
}

/// Why no path of `find .` can match a pattern.
fn never_matches(pattern: &str) -> Option<String> {
    let mut chars = pattern.chars();
    let wild = |c: Option<char>| matches!(c, Some('*' | '?' | '['));
    let starts = match chars.next() {
        Some('.') => matches!(chars.next(), Some('/')) || wild(pattern.chars().nth(1)),
        first => wild(first),
    };
    if !starts {
        let rest = pattern.trim_start_matches(['.', '/']);
        return Some(format!("paths begin with `./`; write `./{rest}`"));
    }
    pattern.ends_with('/').then(|| format!("no path ends in `/`; write `{pattern}*`"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::path::Path;

    use super::*;

    fn run(files: &[(&str, &str)]) -> Result<ExcludeLists, Vec<String>> {
        let files: BTreeMap<PathBuf, &str> = files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
        let mut disk = |path: &Path| match files.get(path) {
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        read(&["/l/a".into()], &mut disk).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn warnings(text: &str) -> Vec<String> {
        run(&[("/l/a", text)]).unwrap().warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn plain_and_minus_exclude_plus_includes() {
        let text = "./boot*  # kernels\n-./tmp/*\n+./boot/keep\n\n# only a comment\n#INCLUDE:more#\n";
        let lists = run(&[("/l/a", text), ("/l/more", "./usr/share/man*")]).unwrap();
        let excludes: Vec<_> = lists.excludes.iter().map(|rule| format!("{} {}", rule.at, rule.pattern)).collect();
        assert_eq!(excludes[..3], ["/l/a:1 ./boot*", "/l/a:2 ./tmp/*", "/l/more:1 ./usr/share/man*"]);
        assert_eq!(excludes.len(), 3 + ALWAYS_EXCLUDED.len());
        assert_eq!(lists.includes, [Rule { pattern: "./boot/keep".into(), at: "/l/a:3".into() }]);
        assert_eq!(lists.warnings, []);
    }

    #[test]
    fn patterns_that_do_less_than_meant_are_warned_of() {
        let table = [
            ("boot*", "/l/a:1: `boot*` matches nothing: paths begin with `./`; write `./boot*`"),
            ("/boot*", "/l/a:1: `/boot*` matches nothing: paths begin with `./`; write `./boot*`"),
            ("./boot/", "/l/a:1: `./boot/` matches nothing: no path ends in `/`; write `./boot/*`"),
            ("./boot", "/l/a:1: `./boot` leaves out the directory alone"),
            ("./usr/share/doc", "/l/a:1: `./usr/share/doc` leaves out"),
            ("./opt/x\n+./opt/x/keep", "/l/a:1: `./opt/x` leaves out"),
            (" ./boot*", "/l/a:1: the blanks in front"),
            ("# #INCLUDE:x#", "/l/a:1: this include is in a comment"),
        ];
        for (text, expected) in table {
            let found = warnings(text);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{text:?}: {found:?}");
        }
        for good in ["./boot\n./boot/*", "./boot*", "*.pyc", "./etc/motd", "[.]/x", "./vmlinuz.old"] {
            assert_eq!(warnings(good), Vec::<String>::new(), "{good:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_problem() {
        let found = run(&[("/l/a", "-\n./x #INCLUDE:b#\n#INCLUDE:a#\n#INCLUDE:gone#")]).unwrap_err();
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(run(&[]).unwrap_err(), ["The exlist specified '/l/a' does not exist!"]);
    }
}
