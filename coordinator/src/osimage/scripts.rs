//! The postinstall scripts: read into the plan with their arguments, and looked through for the install root.
//!
//! Contract and checks are those of XCAT.md 5.1; texts that scripts match on are kept.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::osimage::attribute::split_list;
use model::plan::{Content, Script};

use super::files::{MAX_SCRIPT, open_regular, read_regular, reason};
use super::notes::Notes;
use super::target::Target;

/// Variables of the contract that hold paths which only the install root, if anything, has on an agent.
const PATHS_OF_THE_MN: [&str; 4] = ["IMG_PKGDIR", "IMG_OTHERPKGDIR", "IMG_PKGLIST", "IMG_OTHERPKGLIST"];

pub(super) fn read(target: &Target<'_>, rootimgdir: Option<&Path>, notes: &mut Notes) -> Vec<Script> {
    let Some(value) = target.osimage.get("postinstall") else { return Vec::new() };
    notes.given("postinstall", value);
    split_list(value).filter_map(|entry| script(target, entry, rootimgdir, notes)).collect()
}

fn script(target: &Target<'_>, entry: &str, rootimgdir: Option<&Path>, notes: &mut Notes) -> Option<Script> {
    let mut words = entry.split_whitespace();
    let path = words.next().map(PathBuf::from)?;
    // A relative path has been reported by the check of the definition.
    if !path.is_absolute() {
        return None;
    }
    let bytes = match executable(&path) {
        Ok(bytes) => bytes,
        Err(message) => {
            notes.problem(message);
            return None;
        }
    };
    warn_of_first_line(&path, &bytes, notes);
    let args: Vec<String> = words.map(str::to_owned).collect();
    let used = PATHS_OF_THE_MN.into_iter().find(|name| contains(&bytes, name.as_bytes()));
    if let Some(name) = used {
        notes.needs_install(format!(
            "the postinstall script `{}` uses `{name}`, a path of the management node",
            path.display()
        ));
    }
    let mentions = |text: &[u8]| mentions_install(text, target.install_dir, rootimgdir);
    if mentions(&bytes) || args.iter().any(|arg| mentions(arg.as_bytes())) {
        let (path, root) = (path.display(), target.install_dir.display());
        notes.needs_install(format!("the postinstall script `{path}` names `{root}`"));
    }
    Some(Script { path, args, content: Content::from_bytes(bytes) })
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

fn executable(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("The postinstall specified '{shown}' does not exist!"),
        _ => format!("cannot read the postinstall script `{shown}`: {}", reason(&error)),
    };
    let mode = open_regular(path).and_then(|file| file.metadata()).map_err(refused)?.permissions().mode();
    if mode & 0o111 == 0 {
        return Err(format!("postinstall script {shown} is not executable; make it so with `chmod +x {shown}`"));
    }
    read_regular(path, MAX_SCRIPT).map_err(refused)
}

/// What the kernel won't run, or will look for in vain.
fn warn_of_first_line(path: &Path, bytes: &[u8], notes: &mut Notes) {
    let shown = path.display();
    let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if !first.starts_with(b"#!") && !first.starts_with(b"\x7fELF") {
        notes.warn(format!("the postinstall script `{shown}` does not begin with `#!`; it is run by /bin/sh"));
    } else if first.starts_with(b"#!") && first.ends_with(b"\r") {
        notes.warn(format!("the first line of the postinstall script `{shown}` ends in a carriage return, which keeps it from running; convert it with dos2unix"));
    }
}

/// Whether a text names the install root, other than to reach the root image, which every agent has.
fn mentions_install(text: &[u8], install_dir: &Path, rootimgdir: Option<&Path>) -> bool {
    let text = String::from_utf8_lossy(text);
    let text = match rootimgdir.map(|path| path.join("rootimg").display().to_string()) {
        Some(own) => text.replace(&own, ""),
        None => text.into_owned(),
    };
    // Without a slash at its end, if the configuration has one.
    let root = install_dir.components().collect::<PathBuf>().display().to_string();
    let word = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    text.match_indices(&root).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_none_or(|c| !word(c) && c != '/');
        before && text[at + root.len()..].chars().next().is_none_or(|c| !word(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_install_root_itself_counts_as_named() {
        let table = [
            ("cp /install/post/x $1", true),
            ("ls /install", true),
            ("INSTALL=/install\n", true),
            ("cp /installation/x /", false),
            ("cp /usr/install/x /", false),
            ("chroot /install/netboot/a/rootimg id", false),
            ("ls /install/netboot/a/", true),
            ("make install", false),
        ];
        for (text, expected) in table {
            let rootimgdir = Some(Path::new("/install/netboot/a"));
            for root in ["/install", "/install/"] {
                assert_eq!(mentions_install(text.as_bytes(), Path::new(root), rootimgdir), expected, "{text}");
            }
        }
    }
}
