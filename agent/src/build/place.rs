//! Writing files into the image from outside it, where its symbolic links must not lead out to the node.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use super::failure::StageError;

/// The image, as something to put files in.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    root: &'a Path,
}

impl<'a> Place<'a> {
    /// The image at `root`.
    pub fn new(root: &'a Path) -> Self {
        Self { root }
    }

    /// Whether something of that name is there, were it a link to nowhere.
    pub fn has(&self, name: &str) -> bool {
        self.root.join(name).symlink_metadata().is_ok()
    }

    /// A file's text; empty if it is no file.
    pub fn text(&self, name: &str) -> String {
        let path = self.root.join(name);
        if path.is_symlink() { String::new() } else { fs::read_to_string(path).unwrap_or_default() }
    }

    /// The names in a folder that begin with `prefix`.
    pub fn names(&self, folder: &str, prefix: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(folder)) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
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

    /// The path of `name`, its folder made and proven to lie in the image.
    pub fn spot(&self, name: &str) -> Result<PathBuf, StageError> {
        if Path::new(name).components().any(|part| part == Component::ParentDir) {
            let cause = format!("`/{name}` leads out of its folder");
            return Err(StageError::build(cause, "look where the name comes from"));
        }
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(self.root);
        let within = |found: &Path| self.root.canonicalize().is_ok_and(|root| found.starts_with(root));
        // The deepest folder that exists is looked at before anything is made in it.
        let standing = folder.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(self.root);
        let real = standing.canonicalize().map_err(StageError::file("look at", standing))?;
        if !within(&real) {
            let cause =
                format!("`/{name}` leads out of the image: `{}` is a link to `{}`", standing.display(), real.display());
            return Err(StageError::build(cause, "look which package makes that link"));
        }
        fs::create_dir_all(folder).map_err(StageError::file("make", folder))?;
        Ok(path)
    }
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
        place.write("hostname", "", 0o644).unwrap();
        assert_eq!(fs::read_to_string(node.path().join("hostname")).unwrap(), "node");
        assert!(image.path().join("hostname").symlink_metadata().unwrap().is_file());
        symlink(node.path(), image.path().join("etc")).unwrap();
        let error = place.write("etc/new/passwd", "x", 0o644).unwrap_err();
        assert!(error.cause.contains("leads out of the image"), "{}", error.cause);
        assert!(!node.path().join("new").exists());
    }
}
