//! The repositories of a build as sections of dnf's configuration, with the files that they are checked with.

use std::fs;
use std::path::PathBuf;

use model::plan::{Content, Repository, RepositoryTrust};

use crate::build::context::Context;
use crate::build::failure::StageError;
use crate::pkg::ini::Section;

/// Where the keys of a Red Hat's own distribution lie on a node.
const NODE_KEYS: &str = "/etc/pki/rpm-gpg";

/// The repositories with their names in this build, and their keys written down.
pub(super) fn of<'r>(
    context: &Context<'_>,
    repositories: impl Iterator<Item = &'r Repository>,
) -> Result<Vec<Section<'r>>, StageError> {
    let of_os = context.plan.repositories.len();
    let section = |(index, repository): (usize, &'r Repository)| {
        let id = if index < of_os { format!("os-{}", index + 1) } else { format!("otherpkgs-{}", index + 1 - of_os) };
        let keys = keys(context, &id, repository)?;
        Ok(Section { id, repository, keys })
    };
    repositories.enumerate().map(section).collect()
}

/// Whether another repository is the same sub-directory of another otherpkgdir.
pub(super) fn is_elsewhere(sections: &[Section<'_>], at: usize) -> bool {
    let subdir = &sections[at].repository.subdir;
    let same = |(index, section): (usize, &Section<'_>)| index != at && section.repository.subdir == *subdir;
    subdir.is_some() && sections.iter().enumerate().any(same)
}

/// rpm can't tie a key to a repository: once imported it is good for every package of the image.
pub(super) fn one_keyring(sections: &[Section<'_>]) -> Option<&'static str> {
    let mut checked = sections.iter().filter_map(|section| section.keys.as_ref());
    let first = checked.next()?;
    checked.any(|keys| keys != first).then_some(
        "rpm has one keyring for an image: a package that is signed with any of these keys is taken from any of the \
         repositories that are checked",
    )
}

/// The files that a repository's packages are checked with.
fn keys(context: &Context<'_>, id: &str, repository: &Repository) -> Result<Option<Vec<PathBuf>>, StageError> {
    let carried = match &repository.trust {
        RepositoryTrust::Unsigned => return Ok(None),
        RepositoryTrust::Distribution => return keys_of_node(repository).map(Some),
        RepositoryTrust::Key { path, content } => vec![(path, content)],
        RepositoryTrust::Medium { keys } => keys.iter().map(|key| (&key.path, &key.content)).collect(),
    };
    let folder = context.work.join("keys").join(id);
    let write = |(index, (path, content)): (usize, (&PathBuf, &Content))| {
        let damaged = || StageError::build(format!("the key `{}` is damaged in the plan", path.display()), "");
        let bytes = content.to_bytes().ok_or_else(damaged)?;
        // Keys of several media may have one name.
        let folder = folder.join(index.to_string());
        fs::create_dir_all(&folder).map_err(StageError::file("make", &folder))?;
        // A blank in its name would end the value.
        let name = path.file_name().unwrap_or_default().to_string_lossy().replace(char::is_whitespace, "_");
        let file = folder.join(name);
        fs::write(&file, bytes).map_err(StageError::file("write the key", &file))?;
        Ok(file)
    };
    carried.into_iter().enumerate().map(write).collect::<Result<_, _>>().map(Some)
}

fn keys_of_node(repository: &Repository) -> Result<Vec<PathBuf>, StageError> {
    let entries = fs::read_dir(NODE_KEYS).into_iter().flatten().flatten();
    let mut keys: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    keys.sort();
    if keys.is_empty() {
        return Err(StageError::node(
            format!("this node has no key to check {} with (none in {NODE_KEYS})", repository.source),
            format!(
                "write `[signed-by=/path/key] {0}` or, if you trust it unchecked, `[trusted=yes] {0}`",
                repository.source
            ),
        ));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subdirectory_is_elsewhere_only_under_another_otherpkgdir() {
        let repository = |url: &str, subdir: Option<&str>| Repository {
            url: url.to_owned(),
            suite: String::new(),
            components: Vec::new(),
            trust: RepositoryTrust::Unsigned,
            source: url.to_owned(),
            subdir: subdir.map(str::to_owned),
        };
        let all = [
            repository("http://a", None),
            repository("http://b", None),
            repository("http://a/gpfs", Some("gpfs")),
            repository("http://b/gpfs", Some("gpfs")),
            repository("http://a/mofed", Some("mofed")),
        ];
        let section = |repository| Section { id: "x".into(), repository, keys: None };
        let sections: Vec<Section<'_>> = all.iter().map(section).collect();
        let found: Vec<bool> = (0..all.len()).map(|at| is_elsewhere(&sections, at)).collect();
        assert_eq!(found, [false, false, true, true, false]);
    }

    #[test]
    fn several_keys_make_one_ring_and_that_is_said() {
        let repository = Repository {
            url: String::new(),
            suite: String::new(),
            components: Vec::new(),
            trust: RepositoryTrust::Unsigned,
            source: String::new(),
            subdir: None,
        };
        let section = |keys: Option<&str>| Section {
            id: "x".into(),
            repository: &repository,
            keys: keys.map(|key| vec![PathBuf::from(key)]),
        };
        assert!(one_keyring(&[section(Some("a")), section(None), section(Some("a"))]).is_none());
        assert!(one_keyring(&[section(Some("a")), section(Some("b"))]).is_some());
        assert!(one_keyring(&[section(None)]).is_none());
    }
}
