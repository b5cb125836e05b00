//! One entry of a package list: a name, a group or a removal, and which characters it may hold (XCAT.md 3.2).

/// What an entry asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Install,
    RemoveBefore,
    RemoveAfter,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) action: Action,
    /// The name without its directory, as the package manager takes it.
    pub(super) name: String,
    /// The directory in front of it.
    pub(super) subdir: Option<String>,
}

impl Item {
    /// The entries between two commas: several names, or one removal, or one group whose name may hold blanks.
    pub(super) fn parse(part: &str) -> Result<Vec<Self>, String> {
        let (action, names) = if let Some(rest) = part.strip_prefix("--") {
            (Action::RemoveAfter, rest)
        } else if let Some(rest) = part.strip_prefix('-') {
            (Action::RemoveBefore, rest)
        } else {
            (Action::Install, part)
        };
        if names.starts_with('@') {
            check_characters(names, true)?;
            let name = names.split_whitespace().collect::<Vec<_>>().join(" ");
            return Ok(vec![Self { action, name, subdir: None }]);
        }
        if action == Action::Install {
            return names.split_whitespace().map(|word| Self::one(action, word)).collect();
        }
        if names.is_empty() || names.starts_with(char::is_whitespace) {
            return Err(format!("`{part}` names no package to remove; write `-name` or `--name`"));
        }
        if names.contains(char::is_whitespace) {
            return Err(format!("`{part}`: a removal takes one name; give each its own line"));
        }
        if names.contains('=') {
            return Err(format!("`{part}` looks like an option of the package manager; a list holds names alone"));
        }
        Ok(vec![Self::one(action, names)?])
    }

    fn one(action: Action, word: &str) -> Result<Self, String> {
        if word.starts_with('#') {
            return Err(
                "a comment must stand on a line of its own; xCAT would drop every package after this one".to_owned()
            );
        }
        if word.starts_with('-') {
            return Err(format!(
                "`{word}` stands behind another entry, where it would be an option; give a removal its own line"
            ));
        }
        check_characters(word, false)?;
        let (subdir, name) = match word.rsplit_once('/') {
            None => (None, word),
            Some((subdir, name)) => (Some(check_subdir(word, subdir)?), name),
        };
        let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric() || "@*_".contains(c));
        if !starts {
            return Err(format!("`{word}` is not the name of a package; names begin with a letter or digit"));
        }
        if name.ends_with('-') {
            return Err(format!(
                "`{word}` ends in `-`, which apt takes as a removal; write `-{}`",
                name.trim_end_matches('-')
            ));
        }
        Ok(Self { action, name: name.to_owned(), subdir: subdir.flatten() })
    }
}

/// The directory of `sub/dir/name`; `.` is the directory of the repository itself.
fn check_subdir(word: &str, subdir: &str) -> Result<Option<String>, String> {
    if word.starts_with('/') {
        return Err(format!("`{word}` is a path; packages are named relative to otherpkgdir"));
    }
    if subdir.split('/').any(|part| part.is_empty() || part == "..") {
        return Err(format!("`{word}` leaves otherpkgdir or holds an empty directory name"));
    }
    let parts: Vec<_> = subdir.split('/').filter(|part| *part != ".").collect();
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// What package managers' own notations need (`foo=1.2~rc1`, `@^env`, `@module:stream`, `gcc-c++`, `kernel*`).
fn check_characters(word: &str, blanks: bool) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+-:~=^*?/@%".contains(c) || (blanks && c.is_whitespace());
    match word.chars().find(|&c| !allowed(c)) {
        None => Ok(()),
        Some('#') => Err(format!("`{word}` holds `#`; a comment must stand on a line of its own")),
        Some(bad) => Err(format!(
            "`{}` holds {bad:?}, which no name of a package does and a shell would act on",
            word.escape_debug()
        )),
    }
}

/// Splits `A=1 B="x y"` as a shell would, without anything that a shell would replace or run.
pub(super) fn shell_words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '$' | '`' | '\\') | (None, ';' | '&' | '|' | '<' | '>' | '(' | ')') => {
                return Err(format!(
                    "{c:?} would be acted on by a shell; there is none here, so write the value itself"
                ));
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("the quote {open} is not closed"));
    }
    words.extend(word);
    Ok(words)
}
