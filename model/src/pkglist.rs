//! The grammar of `pkglist` and `otherpkglist`: files to passes of package names (XCAT.md 3).
//!
//! Called by the resolver on the management node and by `lint`. Names end up as arguments of a package manager, never
//! in a shell, so what xCAT's shell would have acted on is refused with its line. Where xCAT silently drops or
//! misreads something that has one sensible meaning, that meaning is taken and a warning says so.

mod item;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::listfile::{Line, ListReader, Place, ReadFile};
use crate::osimage::is_variable_name;
use crate::plan::{PackageItem, Pass};
use crate::problem::Problem;
use item::{Action, Item};

const NEW_PASS: &str = "#NEW_INSTALL_LIST#";
const ENV: &str = "#ENV:";

/// Which attribute the lists are of; their grammar differs a little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `pkglist`: packages of the system; removals and directories have no effect.
    Os,
    /// `otherpkglist`: additional packages, with removals and sub-directories of `otherpkgdir`.
    Other,
}

impl List {
    /// The attribute's name.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Os => "pkglist",
            Self::Other => "otherpkglist",
        }
    }
}

/// What the lists of one attribute say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageLists {
    /// The passes, in order; those without any package are left out.
    pub passes: Vec<Pass>,
    /// What the user should know though it stops nothing.
    pub warnings: Vec<Problem>,
    /// Every file that was read, includes too.
    pub files: Vec<PathBuf>,
}

/// Reads the files of one attribute and merges them pass by pass, or returns every problem of all of them.
/// `environment` is what `$VAR` in an include's path stands for.
pub fn read(
    list: List,
    files: &[PathBuf],
    environment: &BTreeMap<String, String>,
    read: &mut ReadFile<'_>,
) -> Result<PackageLists, Vec<Problem>> {
    match read_sound(list, files, environment, read) {
        (lists, problems) if problems.is_empty() => Ok(lists),
        (_, problems) => Err(problems),
    }
}

/// Like [`read()`], but hands out what is sound beside the problems, so that what hangs on it can be checked in the
/// same go.
pub fn read_sound(
    list: List,
    files: &[PathBuf],
    environment: &BTreeMap<String, String>,
    read: &mut ReadFile<'_>,
) -> (PackageLists, Vec<Problem>) {
    let mut reader = ListReader::new(list.attribute(), Some(environment), read);
    let mut parser = Parser { list, passes: Vec::new(), pass: 0, warnings: Vec::new(), problems: Vec::new() };
    for file in files {
        parser.pass = 0;
        for line in reader.lines(file) {
            parser.line(&line);
        }
    }
    let mut problems = reader.problems;
    problems.append(&mut parser.problems);
    // A file that is included twice has its problems twice.
    remove_repeated(&mut problems);
    remove_repeated(&mut parser.warnings);
    let acts =
        |pass: &Pass| !(pass.install.is_empty() && pass.remove_before.is_empty() && pass.remove_after.is_empty());
    let passes = parser.passes.into_iter().filter(acts).collect();
    (PackageLists { passes, warnings: parser.warnings, files: reader.files }, problems)
}

fn remove_repeated(problems: &mut Vec<Problem>) {
    let mut seen = std::collections::BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
}

struct Parser {
    list: List,
    passes: Vec<Pass>,
    pass: usize,
    warnings: Vec<Problem>,
    problems: Vec<Problem>,
}

impl Parser {
    fn problem(&mut self, at: &Place, message: impl Into<String>) {
        self.problems.push(Problem::at(at, message));
    }

    fn warn(&mut self, at: &Place, message: impl Into<String>) {
        self.warnings.push(Problem::at(at, message));
    }

    fn current(&mut self) -> &mut Pass {
        while self.passes.len() <= self.pass {
            self.passes.push(Pass::default());
        }
        &mut self.passes[self.pass]
    }

    fn line(&mut self, line: &Line) {
        let text = line.text.trim_start();
        let indented = text.len() != line.text.len();
        if text.starts_with('#') {
            return self.directive(text, indented, &line.at);
        }
        for (number, part) in line.text.split(',').enumerate() {
            let blanks = part.starts_with(char::is_whitespace);
            self.part(part.trim(), blanks || (number == 0 && indented), &line.at);
        }
    }

    fn directive(&mut self, text: &str, indented: bool, at: &Place) {
        if let Some(rest) = text.strip_prefix(NEW_PASS) {
            self.pass += usize::from(rest.is_empty());
            self.closed(rest, NEW_PASS, at);
        } else if let Some(rest) = text.strip_prefix(ENV) {
            match rest.split_once('#') {
                None => self.problem(at, "this directive is not closed; write `#ENV:NAME=value#`"),
                Some((pairs, rest)) => {
                    self.closed(rest, "#ENV:…#", at);
                    self.variables(pairs, at);
                }
            }
        } else {
            return self.comment(text, at);
        }
        if indented {
            self.warn(at, "this directive is indented; it is taken, but xCAT would not see it");
        }
    }

    fn closed(&mut self, rest: &str, directive: &str, at: &Place) {
        if !rest.is_empty() {
            let message = format!("`{}` follows `{directive}` on its line; give it a line of its own", rest.trim());
            self.problem(at, message);
        }
    }

    /// A comment that looks as if it should have been a directive is worth a word.
    fn comment(&mut self, text: &str, at: &Place) {
        let words = text[1..].trim_start().to_uppercase();
        let meant = ["INCLUDE:", "ENV:", "NEW_INSTALL_LIST"].into_iter().find(|word| words.starts_with(word));
        if let Some(meant) = meant.filter(|_| text.len() > 1 && !text[1..].starts_with('#')) {
            self.warn(
                at,
                format!(
                    "taken as a comment; if the directive is meant, write `#{meant}…#` without blanks, in capitals"
                ),
            );
        }
    }

    fn variables(&mut self, pairs: &str, at: &Place) {
        let pairs = match item::shell_words(pairs) {
            Ok(pairs) => pairs,
            Err(message) => return self.problem(at, message),
        };
        if pairs.is_empty() {
            self.problem(at, "this directive sets nothing; write `#ENV:NAME=value#`");
        }
        for pair in pairs {
            let Some((name, value)) = pair.split_once('=').filter(|(name, _)| is_variable_name(name)) else {
                self.problem(at, format!("`{pair}` is not of the form NAME=value"));
                continue;
            };
            let before = self.current().environment.insert(name.to_owned(), value.to_owned());
            if before.as_deref().is_some_and(|before| before != value) {
                self.warn(at, format!("`{name}` was set to another value before in this pass; `{value}` is used"));
            }
        }
    }

    /// What stands between two commas.
    fn part(&mut self, part: &str, blanks: bool, at: &Place) {
        if part.is_empty() {
            return;
        }
        let items = match Item::parse(part) {
            Ok(items) => items,
            Err(message) => return self.problem(at, message),
        };
        if part.starts_with('-') && blanks && self.list == List::Other {
            self.warn(
                at,
                format!("`{part}` has blanks in front; it is taken as a removal, xCAT would hand it on as an option"),
            );
        }
        if part.trim_start_matches('-').starts_with('@') && part.contains(char::is_whitespace) {
            self.warn(at, format!("`{part}` is taken as the name of one group; separate names with commas"));
        }
        for item in items {
            self.item(item, at);
        }
    }

    fn item(&mut self, item: Item, at: &Place) {
        let Item { action, name, mut subdir } = item;
        if self.list == List::Os {
            if action != Action::Install {
                let message = format!("removing `{name}` has no effect in a pkglist; put it in an otherpkglist");
                return self.warn(at, message);
            }
            if let Some(subdir) = subdir.take() {
                self.warn(at, format!("the directory `{subdir}` in front of `{name}` has no effect in a pkglist"));
            }
        }
        let pass = self.current();
        let items = match action {
            Action::Install => &mut pass.install,
            Action::RemoveBefore => &mut pass.remove_before,
            Action::RemoveAfter => &mut pass.remove_after,
        };
        if !items.iter().any(|known| known.name == name && known.subdir == subdir) {
            items.push(PackageItem { name, subdir, at: at.to_string() });
        }
    }
}

#[cfg(test)]
mod tests;
