//! Where the image goes: `rootimgdir`, which must lie inside the install root whatever links are on the way.

use std::io;
use std::path::{Component, Path, PathBuf};

use model::plan::Repository;

use super::files::reason;
use super::notes::Notes;
use super::target::Target;

/// Names that we make ourselves, in every rootimgdir and in the install root.
const OWN: [&str; 3] = [".imgctl", ".generations", "rootimg"];

/// The directory as the definition spells it, if it is sound.
pub(super) fn place(target: &Target<'_>, notes: &mut Notes) -> Option<PathBuf> {
    let path = target.osimage.rootimgdir(target.install_dir)?;
    let text = path.display().to_string();
    match target.osimage.get("rootimgdir") {
        Some(_) => notes.given("rootimgdir", &text),
        None => notes.defaulted("rootimgdir", &text, "<install root>/netboot/<osvers>/<osarch>/<profile>"),
    }
    match check(&path, target.install_dir) {
        Ok(()) => Some(path),
        Err(message) => {
            notes.problem(message);
            None
        }
    }
}

fn check(path: &Path, install_dir: &Path) -> Result<(), String> {
    let (shown, root) = (path.display(), install_dir.display());
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("rootimgdir `{shown}` must be an absolute path without `..`"));
    }
    if let Some(own) = path.components().find(|part| OWN.iter().any(|name| part.as_os_str() == *name)) {
        let own = own.as_os_str().to_string_lossy();
        return Err(format!("rootimgdir `{shown}` must not hold `{own}`, which is a directory of imgctl's own"));
    }
    let real_root = install_dir.canonicalize();
    let real_root =
        real_root.map_err(|error| format!("cannot look at the install root `{root}`: {}", reason(&error)))?;
    let real = real_path(path).map_err(|error| format!("cannot look at rootimgdir `{shown}`: {}", reason(&error)))?;
    if real == real_root {
        return Err(format!(
            "rootimgdir `{shown}` is the install root itself; give the image a directory of its own below it"
        ));
    }
    if !real.starts_with(&real_root) {
        let via = if path.starts_with(install_dir) {
            format!(", through a link to `{}`", real.display())
        } else {
            String::new()
        };
        return Err(format!(
            "rootimgdir `{shown}` lies outside the install root `{root}`{via}; images are kept below it"
        ));
    }
    Ok(())
}

/// An image in a repository, or a repository in an image, is a slip of the pen that would cost one of the two.
pub(super) fn keep_apart<'a>(rootimgdir: &Path, repositories: impl Iterator<Item = &'a Repository>, notes: &mut Notes) {
    for local in repositories.filter_map(Repository::local_path) {
        if local.starts_with(rootimgdir) || rootimgdir.starts_with(local) {
            let (rootimgdir, local) = (rootimgdir.display(), local.display());
            notes.problem(format!("rootimgdir `{rootimgdir}` and the repository `{local}` lie in one another; give the image a directory of its own"));
        }
    }
}

/// The path with the links of its existing part resolved. A link to nowhere is an error: it could lead anywhere once
/// what it names is made.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    for ancestor in path.ancestors() {
        match ancestor.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let real = ancestor.canonicalize()?;
                if !real.is_dir() {
                    return Err(io::Error::other(format!("`{}` is not a directory", ancestor.display())));
                }
                return Ok(path.strip_prefix(ancestor).map_or(real.clone(), |rest| real.join(rest)));
            }
        }
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_directory_below_the_install_root_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let install = base.join("install");
        fs::create_dir_all(install.join("netboot/a")).unwrap();
        fs::create_dir_all(base.join("outside")).unwrap();
        fs::write(install.join("file"), "").unwrap();
        symlink(base.join("outside"), install.join("escape")).unwrap();
        symlink(base.join("nowhere"), install.join("dangling")).unwrap();
        symlink("netboot", install.join("within")).unwrap();
        symlink(&install, base.join("alias")).unwrap();
        let table = [
            ("install/netboot/a", None),
            ("install/netboot/b/c", None),
            ("install/within/b", None),
            ("alias/netboot/b", None),
            ("install", Some("is the install root itself")),
            ("alias", Some("is the install root itself")),
            ("install/netboot/../../outside", Some("without `..`")),
            ("outside/x", Some("lies outside the install root")),
            ("install-other/x", Some("lies outside the install root")),
            ("install/netboot/a/rootimg/x", Some("must not hold `rootimg`")),
            ("install/.imgctl/staging", Some("must not hold `.imgctl`")),
            ("install/escape/x", Some("through a link to")),
            ("install/dangling/x", Some("there is no such file")),
            ("install/file/x", Some("not a directory")),
        ];
        for (path, expected) in table {
            match (check(&base.join(path), &install), expected) {
                (Ok(()), None) => {}
                (Err(message), Some(text)) => assert!(message.to_lowercase().contains(text), "{path}: {message}"),
                (result, _) => panic!("{path}: {result:?}"),
            }
        }
    }
}
