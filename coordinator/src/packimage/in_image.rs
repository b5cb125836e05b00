//! [`InImage`]: names as a program in the image would see them, on the MN.
//!
//! Links in the tree may be absolute or climb; followed naively they lead into the MN's own file system, which is how
//! xCAT came to ask the MN whether a synclist's target is a directory.

use std::collections::VecDeque;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rootfs::path::TreePath;

/// As many links as the kernel follows for one name.
const LINK_LIMIT: usize = 40;

/// A tree whose root is taken for `/`.
#[derive(Debug)]
pub(super) struct InImage {
    root: PathBuf,
}

/// Where a name leads.
enum Found {
    /// Something, at this place below the root.
    There(PathBuf),
    /// Nothing there; this is where it would be.
    Missing(PathBuf),
}

impl InImage {
    pub(super) fn new(root: &Path) -> InImage {
        InImage { root: root.to_owned() }
    }

    /// The real file that a name leads to, for reading; none if nothing is there.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        match self.follow(Path::new(name)) {
            Found::There(path) => Some(self.root.join(path)),
            Found::Missing(_) => None,
        }
    }

    /// Whether a name is a folder, or a link to one.
    pub(super) fn is_dir(&self, name: &str) -> bool {
        self.find(name).is_some_and(|path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()))
    }

    /// Where something of this name stands: links on the way are followed, one at its end is not. So two names of one
    /// place are seen to be one.
    pub(super) fn place(&self, name: &str) -> TreePath {
        let path = Path::new(name);
        let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else {
            return TreePath::root();
        };
        let (Found::There(parent) | Found::Missing(parent)) = self.follow(parent);
        tree_path(&parent.join(last))
    }

    /// Where a folder of this name stands, all links followed.
    pub(super) fn folder(&self, name: &str) -> TreePath {
        let (Found::There(path) | Found::Missing(path)) = self.follow(Path::new(name));
        tree_path(&path)
    }

    fn follow(&self, name: &Path) -> Found {
        let mut ahead: VecDeque<PathBuf> = parts(name);
        let mut here = PathBuf::new();
        let (mut missing, mut links) = (false, 0);
        while let Some(part) = ahead.pop_front() {
            if part == Path::new("..") {
                here.pop();
                continue;
            }
            let next = here.join(&part);
            match fs::read_link(self.root.join(&next)) {
                Ok(target) if links < LINK_LIMIT => {
                    links += 1;
                    if target.is_absolute() {
                        here.clear();
                    }
                    parts(&target).into_iter().rev().for_each(|part| ahead.push_front(part));
                }
                _ => {
                    missing |= self.root.join(&next).symlink_metadata().is_err();
                    here = next;
                }
            }
        }
        if missing { Found::Missing(here) } else { Found::There(here) }
    }
}

fn parts(path: &Path) -> VecDeque<PathBuf> {
    let part = |component: Component<'_>| match component {
        Component::Normal(_) | Component::ParentDir => Some(PathBuf::from(component.as_os_str())),
        _ => None,
    };
    path.components().filter_map(part).collect()
}

fn tree_path(path: &Path) -> TreePath {
    TreePath::parse(path.as_os_str().as_encoded_bytes()).expect("a followed path is relative and has no `..`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_as_from_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootimg");
        fs::create_dir_all(root.join("usr/lib/deep")).unwrap();
        fs::create_dir_all(root.join("run")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(root.join("usr/file"), "x").unwrap();
        for (target, name) in [
            ("usr/lib", "lib"),
            ("/run", "var"),
            ("/run", "usr/abs"),
            ("../../outside", "climb"),
            ("/tmp", "tmp"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        let image = InImage::new(&root);
        for (name, place) in [
            ("/lib/x", "usr/lib/x"),
            ("/var/a/b", "run/a/b"),
            ("/usr/abs/x", "run/x"),
            ("/lib", "lib"),
            ("/climb/x", "outside/x"),
        ] {
            assert_eq!(image.place(name), TreePath::parse(place).unwrap(), "{name}");
        }
        assert_eq!(image.folder("/lib/"), TreePath::parse("usr/lib").unwrap());
        for (name, is_dir) in
            [("/lib/deep", true), ("/var", true), ("/tmp", false), ("/climb", false), ("/usr/file", false), ("/", true)]
        {
            assert_eq!(image.is_dir(name), is_dir, "{name}");
        }
        assert_eq!(image.find("/loop"), Some(root.join("loop")));
        assert!(!image.is_dir("/loop"));
    }
}
