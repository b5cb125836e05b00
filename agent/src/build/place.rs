//! The image seen from outside it, where its symbolic links must not lead out to the node: each is followed as a program
//! in the image would follow it, one to `/…` from the image's own root.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use super::failure::StageError;

/// Links that are followed on the way to one name, as by the kernel.
const LINKS: usize = 40;

/// The image, as something to look into and to put files in.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    root: &'a Path,
}

/// Whether a link at the very end of a name is followed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Followed,
    AsItIs,
}

impl<'a> Place<'a> {
    /// The image at `root`.
    pub fn new(root: &'a Path) -> Self {
        Self { root }
    }

    /// Whether something of that name is there, were it a link to nowhere.
    pub fn has(&self, name: &str) -> bool {
        self.at(name).is_some_and(|path| path.symlink_metadata().is_ok())
    }

    /// Where on the node a name of the image lies, whatever it is; `None` where links go round in circles.
    pub fn at(&self, name: &str) -> Option<PathBuf> {
        self.resolve(Path::new(name), Last::AsItIs).ok()
    }

    /// Where a file of the image lies, links to it followed; `None` if there is no such file.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        self.resolve(Path::new(name), Last::Followed).ok().filter(|path| path.is_file())
    }

    /// A file's text; empty if it is no file.
    pub fn text(&self, name: &str) -> String {
        let file = self.at(name).filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_file()));
        file.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
    }

    /// The names in a folder that begin with `prefix`.
    pub fn names(&self, folder: &str, prefix: &str) -> Vec<String> {
        let entries = self.resolve(Path::new(folder), Last::Followed).and_then(fs::read_dir);
        let names = entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    }

    /// Writes a file, in place of whatever has its name.
    pub fn write(&self, name: &str, content: &str, mode: u32) -> Result<(), StageError> {
        let path = self.spot(name)?;
        let write = || {
            clear(&path)?;
            fs::write(&path, content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        };
        write().map_err(StageError::file("write", &path))
    }

    /// Makes a symbolic link, in place of whatever has its name.
    pub fn link(&self, target: &str, name: &str) -> Result<(), StageError> {
        let path = self.spot(name)?;
        clear(&path).and_then(|()| symlink(target, &path)).map_err(StageError::file("link", &path))
    }

    /// Removes a file or link, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), StageError> {
        if !self.has(name) {
            return Ok(());
        }
        let path = self.spot(name)?;
        clear(&path).map_err(StageError::file("remove", &path))
    }

    /// The path of `name`, its folder made, in the image whatever its links say.
    pub fn spot(&self, name: &str) -> Result<PathBuf, StageError> {
        if Path::new(name).components().any(|part| part == Component::ParentDir) {
            let cause = format!("`/{name}` leads out of its folder");
            return Err(StageError::build(cause, "look where the name comes from"));
        }
        let path = self.resolve(Path::new(name), Last::AsItIs).map_err(|_| round(name))?;
        let folder = path.parent().unwrap_or(self.root);
        fs::create_dir_all(folder).map_err(StageError::file("make", folder))?;
        Ok(path)
    }

    /// A folder of the image, made if it isn't there.
    pub fn folder(&self, name: &str) -> Result<PathBuf, StageError> {
        let path = self.resolve(Path::new(name), Last::Followed).map_err(|_| round(name))?;
        fs::create_dir_all(&path).map_err(StageError::file("make", &path))?;
        Ok(path)
    }

    /// Follows links as `chroot(2)` has them followed, by hand, for kernels without `openat2(2)`. Nothing of the image
    /// runs while the worker looks into it, so no link changes in between. What isn't there yet is taken as it stands.
    fn resolve(&self, name: &Path, last: Last) -> io::Result<PathBuf> {
        let mut found = self.root.to_owned();
        let mut ahead: VecDeque<OsString> = parts(name).collect();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                if found != self.root {
                    found.pop();
                }
                continue;
            }
            let next = found.join(part);
            let follow = last == Last::Followed || !ahead.is_empty();
            match fs::read_link(&next).ok().filter(|_| follow) {
                Some(_) if links == LINKS => return Err(rustix::io::Errno::LOOP.into()),
                Some(target) => {
                    links += 1;
                    if target.is_absolute() {
                        found = self.root.to_owned();
                    }
                    parts(&target).rev().for_each(|part| ahead.push_front(part));
                }
                None => found = next,
            }
        }
        Ok(found)
    }
}

fn round(name: &str) -> StageError {
    let cause = format!("links of the image on the way to `/{}` go round in circles", name.trim_start_matches('/'));
    StageError::build(cause, "look which package makes them")
}

/// The names in a path, with `..` among them.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect::<Vec<_>>().into_iter()
}

fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_the_image_do_not_lead_out_of_it() {
        let (image, node) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = Place::new(image.path());
        fs::write(node.path().join("hostname"), "node").unwrap();
        symlink(node.path().join("hostname"), image.path().join("hostname")).unwrap();
        assert_eq!((place.file("hostname"), place.text("hostname").as_str()), (None, ""));
        place.write("hostname", "", 0o644).unwrap();
        assert_eq!(fs::read_to_string(node.path().join("hostname")).unwrap(), "node");
        assert!(image.path().join("hostname").symlink_metadata().unwrap().is_file());
        // What is there on the node is not there in the image, until it is made there.
        symlink(node.path(), image.path().join("etc")).unwrap();
        assert!(
            !place.has("etc/hostname") && place.names("etc", "").is_empty() && place.text("etc/hostname").is_empty()
        );
        place.write("etc/new/passwd", "x", 0o644).unwrap();
        assert!(!node.path().join("new").exists());
        let inside = image.path().join(node.path().strip_prefix("/").unwrap());
        assert_eq!(fs::read_to_string(inside.join("new/passwd")).unwrap(), "x");
        assert_eq!((place.names("etc", "n"), place.text("etc/new/passwd").as_str()), (vec!["new".to_owned()], "x"));
        assert_eq!(place.folder("etc/new").unwrap(), inside.join("new"));
    }

    #[test]
    fn links_are_followed_as_in_the_image() {
        let image = tempfile::tempdir().unwrap();
        let (place, root) = (Place::new(image.path()), image.path());
        fs::create_dir_all(root.join("usr/lib/sysimage/rpm")).unwrap();
        fs::create_dir_all(root.join("var/lib")).unwrap();
        for (target, name) in [
            ("/usr/lib/sysimage/rpm", "absolute"),
            ("../../usr/lib/sysimage/rpm", "var/lib/rpm"),
            ("../../../../../usr", "above"),
            ("absolute", "twice"),
            ("round", "round"),
            ("nowhere/at/all", "dangling"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        let rpm = root.join("usr/lib/sysimage/rpm");
        for name in ["absolute", "var/lib/rpm", "above/lib/sysimage/rpm", "twice", "/absolute", "./twice/../rpm"] {
            assert_eq!(place.resolve(Path::new(name), Last::Followed).unwrap(), rpm, "{name}");
        }
        assert_eq!(place.at("absolute").unwrap(), root.join("absolute"));
        assert_eq!(place.spot("dangling/x").unwrap(), root.join("nowhere/at/all/x"));
        assert!(place.has("round") && !place.has("round/x") && place.spot("round/x").is_err());
    }
}
