//! The grammar of synclists: what is copied into the image, and what waits for the node (XCAT.md 5.2, 5.3).
//!
//! packimage carries out the copy lines alone. Lines for some nodes and everything behind `EXECUTE:`, `APPEND:` and
//! their like take effect on the node that runs; they are read and checked here all the same. xCAT stops at the
//! first line with such a word anywhere in it; here only a line that is such a word ends the copy lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::listfile::{INCLUDE, Line, ListReader, ReadFile, expand};
use crate::problem::Problem;

/// The files that `MERGE:` knows how to merge into.
const MERGEABLE: [&str; 3] = ["/etc/passwd", "/etc/shadow", "/etc/group"];

/// What the synclists of an osimage say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncLists {
    /// What packimage copies, in order.
    pub copies: Vec<CopyLine>,
    /// What takes effect only on a node that runs.
    pub on_node: Vec<NodeLine>,
    /// What the user should know though it stops nothing.
    pub warnings: Vec<Problem>,
    /// Every file that was read.
    pub files: Vec<PathBuf>,
}

/// `source… -> target`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyLine {
    /// Absolute paths on the MN; `*`, `?` and `[…]` stand for what is there when the image is packed.
    pub sources: Vec<String>,
    /// The absolute path in the image.
    pub target: String,
    /// Whether the target is surely a directory: it ends in `/`, or there are several sources.
    pub into_directory: bool,
    /// `file:line`.
    pub at: String,
}

/// A line that packimage leaves to the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLine {
    /// Why it waits.
    pub clause: Clause,
    /// The line as written.
    pub text: String,
    /// `file:line`.
    pub at: String,
}

/// What makes a line wait for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clause {
    /// A copy line with `(noderange)`.
    Noderange,
    /// Behind `EXECUTE:`.
    Execute,
    /// Behind `EXECUTEALWAYS:`.
    ExecuteAlways,
    /// Behind `APPEND:`.
    Append,
    /// Behind `MERGE:`.
    Merge,
}

impl Clause {
    const HEADINGS: [(&str, Self); 4] = [
        ("EXECUTE:", Self::Execute),
        ("EXECUTEALWAYS:", Self::ExecuteAlways),
        ("APPEND:", Self::Append),
        ("MERGE:", Self::Merge),
    ];
}

/// Reads the files of the attribute, or returns every problem of all of them. `environment` is what `$VAR` stands for.
pub fn read(
    files: &[PathBuf],
    environment: &BTreeMap<String, String>,
    read: &mut ReadFile<'_>,
) -> Result<SyncLists, Vec<Problem>> {
    let mut reader = ListReader::new("synclist", None, read);
    let mut lists = SyncLists::default();
    let mut problems = Vec::new();
    for file in files {
        let mut section = Section { lists: &mut lists, environment, clause: None };
        for line in reader.lines_without_includes(file) {
            if let Err(message) = section.line(&line) {
                problems.push(Problem::at(&line.at, message));
            }
        }
    }
    problems.splice(0..0, reader.problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    lists.files = reader.files;
    lists.warn_of_scripts_not_copied();
    Ok(lists)
}

/// One file while it is read.
struct Section<'a> {
    lists: &'a mut SyncLists,
    environment: &'a BTreeMap<String, String>,
    /// The clause that has begun; `None` while copy lines may come.
    clause: Option<Clause>,
}

impl Section<'_> {
    fn line(&mut self, line: &Line) -> Result<(), String> {
        let text = line.text.trim();
        if line.text.starts_with(INCLUDE) {
            self.warn(line, "synclists have no includes; this line is a comment");
        }
        if line.text.starts_with('#') || text.is_empty() {
            return Ok(());
        }
        if text.starts_with('#') {
            self.warn(line, "taken as a comment; xCAT knows comments in the first column alone");
            return Ok(());
        }
        if let Some((heading, clause)) = Clause::HEADINGS.into_iter().find(|(heading, _)| text.starts_with(heading)) {
            self.clause = Some(clause);
            let rest = text[heading.len()..].trim();
            return if rest.is_empty() {
                Ok(())
            } else {
                Err(format!("`{heading}` stands on a line alone; put `{rest}` on the next"))
            };
        }
        let text = expand(text, self.environment)?;
        match self.clause {
            None => self.copy(&text, line),
            Some(clause) => self.on_node(clause, &text, line),
        }
    }

    fn warn(&mut self, line: &Line, message: &str) {
        self.lists.warnings.push(Problem::at(&line.at, message));
    }

    fn copy(&mut self, text: &str, line: &Line) -> Result<(), String> {
        let (sources, target) = arrow(text)?;
        if let Some(rest) = target.strip_prefix('(') {
            let (nodes, target) =
                rest.split_once(')').ok_or("the noderange is not closed; write `source -> (nodes) /target`")?;
            if nodes.trim().is_empty() {
                return Err("the noderange is empty; leave it out to copy everywhere".to_owned());
            }
            check_target(target.trim())?;
            self.push(Clause::Noderange, text, line);
            return Ok(());
        }
        check_target(target)?;
        let into_directory = target.ends_with('/') || sources.len() > 1;
        let sources = sources.into_iter().map(str::to_owned).collect();
        let copy = CopyLine { sources, target: target.to_owned(), into_directory, at: line.at.to_string() };
        self.lists.copies.push(copy);
        Ok(())
    }

    fn on_node(&mut self, clause: Clause, text: &str, line: &Line) -> Result<(), String> {
        match clause {
            Clause::Append | Clause::Merge => {
                let (_, target) = arrow(text)?;
                check_target(target)?;
                if clause == Clause::Merge && !MERGEABLE.contains(&target) {
                    return Err(format!("`{target}` can't be merged into; MERGE: knows {}", MERGEABLE.join(", ")));
                }
            }
            Clause::Execute | Clause::ExecuteAlways | Clause::Noderange => {
                if text.contains("->") {
                    return Err(
                        "a script is named by its path alone; copy lines stand above the first clause".to_owned()
                    );
                }
                check_source(text)?;
                if clause == Clause::Execute && !text.ends_with(".post") {
                    self.warn(
                        line,
                        "EXECUTE: runs scripts named `<file>.post` when <file> was updated; this one is never run",
                    );
                }
            }
        }
        self.push(clause, text, line);
        Ok(())
    }

    fn push(&mut self, clause: Clause, text: &str, line: &Line) {
        self.lists.on_node.push(NodeLine { clause, text: text.to_owned(), at: line.at.to_string() });
    }
}

impl SyncLists {
    /// Scripts of `EXECUTEALWAYS:` reach the node only by a copy line.
    fn warn_of_scripts_not_copied(&mut self) {
        let copied: BTreeSet<&str> = self.copies.iter().flat_map(|copy| &copy.sources).map(String::as_str).collect();
        let by_node = |script: &str| {
            self.on_node.iter().any(|line| line.clause == Clause::Noderange && line.text.contains(script))
        };
        let wild = |script: &str| {
            copied.iter().any(|source| {
                source.contains(['*', '?', '[']) && Path::new(source).parent() == Path::new(script).parent()
            })
        };
        let missing = |line: &&NodeLine| {
            let script = line.text.as_str();
            line.clause == Clause::ExecuteAlways && !copied.contains(script) && !wild(script) && !by_node(script)
        };
        let warn = |line: &NodeLine| {
            Problem::at(&line.at, format!("`{}` is in no copy line, so nodes won't have it; add `{0} -> …`", line.text))
        };
        let warnings: Vec<_> = self.on_node.iter().filter(missing).map(warn).collect();
        self.warnings.extend(warnings);
    }
}

/// The two sides of `source… -> target`.
fn arrow(text: &str) -> Result<(Vec<&str>, &str), String> {
    let (sources, target) = text.split_once("->").ok_or("this line is not of the form `source -> /target`")?;
    let (sources, target): (Vec<&str>, _) = (sources.split_whitespace().collect(), target.trim());
    if target.contains("->") {
        return Err("there is more than one `->` on this line".to_owned());
    }
    if sources.is_empty() || target.is_empty() {
        return Err("a side of `->` is empty; write `source -> /target`".to_owned());
    }
    for source in &sources {
        check_source(source)?;
    }
    Ok((sources, target))
}

fn check_source(source: &str) -> Result<(), String> {
    if !source.starts_with('/') {
        return Err(format!("`{source}` must be an absolute path; it is read on the management node"));
    }
    match source.chars().find(|&c| c.is_whitespace() || "{}`'\"\\;&|<>()".contains(c)) {
        Some(bad) => {
            Err(format!("`{source}` holds {bad:?}; a source is a path, in which * ? [ ] alone stand for others"))
        }
        None => Ok(()),
    }
}

fn check_target(target: &str) -> Result<(), String> {
    if !target.starts_with('/') {
        return Err(format!("the target `{target}` must be an absolute path in the image"));
    }
    if target.contains(char::is_whitespace) {
        return Err(format!("there is more than one target: `{target}`"));
    }
    if target.split('/').any(|part| part == "..") {
        return Err(format!("the target `{target}` must not hold `..`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
