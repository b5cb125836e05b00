//! [`RootimgDir`]: what lies where in a rootimgdir, found on disk, not remembered.
//!
//! ```text
//! .generations/7/{kernel,initrd-stateless.gz,initrd-statelite.gz,rootimg/,rootimg.cpio.gz,manifest.json,build.json}
//! .generations/8/{…, rootimg -> ../7/rootimg, …}      packed again from the sealed tree of 7
//! current -> .generations/8                           kernel -> current/kernel, and so on
//! ```
//!
//! Every function that writes there takes a [`RootimgDir`], which exists only for a folder inside the install root.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use model::id::Generation;
use serde::{Deserialize, Serialize};

use super::atomic::{FileError, failed};

/// The folder of all generations, in the rootimgdir.
pub const GENERATIONS: &str = ".generations";
/// The link to the live one.
pub const CURRENT: &str = "current";
/// The tree.
pub const TREE: &str = "rootimg";
/// What the tree looked like when it was received.
pub const MANIFEST: &str = "manifest.json";
/// What the agent says of the build.
pub const BUILD: &str = "build.json";
/// What nodes boot besides the archive.
pub const BOOT: [&str; 3] = ["kernel", "initrd-stateless.gz", "initrd-statelite.gz"];
/// Packed archives, in the order in which nodeset looks for them; `rootimg.gz` is the name of old xCAT releases.
pub const ARCHIVES: [&str; 10] = [
    "rootimg.cpio.gz",
    "rootimg.cpio.xz",
    "rootimg.tar.gz",
    "rootimg.tar.xz",
    "rootimg.sfs",
    "rootimg.gz",
    "rootimg.cpio.zst",
    "rootimg.tar.zst",
    "rootimg.cpio",
    "rootimg.tar",
];

/// Every name that a rootimgdir serves by a link.
pub fn served() -> impl Iterator<Item = &'static str> {
    BOOT.into_iter().chain([TREE]).chain(ARCHIVES)
}

/// The number of a generation's folder: 0 is what xCAT left, all others are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(u32);

impl Number {
    /// What xCAT left.
    pub const XCAT: Number = Number(0);

    /// The generation as builds know it; none for xCAT's.
    pub fn ours(self) -> Option<Generation> {
        Generation::new(self.0)
    }

    /// Reads a folder's name as we write it.
    fn parse(name: &str) -> Option<Number> {
        name.parse().ok().map(Number).filter(|number| number.to_string() == name)
    }
}

impl From<Generation> for Number {
    fn from(generation: Generation) -> Number {
        Number(generation.get())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a folder can't be worked on as a rootimgdir.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Not an absolute path, or with `..` in it.
    #[error("rootimgdir `{}` is no plain absolute path; correct it in the osimage", path.display())]
    Path {
        /// As in the definition.
        path: PathBuf,
    },
    /// Links lead out of the install root, or it is the install root itself.
    #[error(
        "rootimgdir `{}` is `{}`, which is not inside the install root `{}`; \
         choose one inside, or bind-mount the other disk there",
        path.display(), real.display(), install_dir.display()
    )]
    Outside {
        /// As in the definition.
        path: PathBuf,
        /// Where it leads.
        real: PathBuf,
        /// The install root.
        install_dir: PathBuf,
    },
    /// A name that should be ours is something else.
    #[error("`{}` is {found}; move it away", path.display())]
    Foreign {
        /// Which name.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The folder is not there.
    #[error("generation {number} of `{}` is not there", rootimgdir.display())]
    NoGeneration {
        /// Which.
        number: Number,
        /// Of what.
        rootimgdir: PathBuf,
    },
    /// A generation without a tree.
    #[error("`{}` has no tree; run genimage first", path.display())]
    NoTree {
        /// The generation's folder.
        path: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A rootimgdir that is there and inside the install root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootimgDir {
    path: PathBuf,
}

impl RootimgDir {
    /// Makes sure that `rootimgdir` exists and that no link leads out of `install_dir`.
    pub fn open(rootimgdir: &Path, install_dir: &Path) -> Result<RootimgDir, LayoutError> {
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if !rootimgdir.is_absolute() || !rootimgdir.components().all(plain) {
            return Err(LayoutError::Path { path: rootimgdir.to_owned() });
        }
        let install = install_dir.canonicalize().map_err(failed("resolve", install_dir))?;
        let inside = |path: &Path| -> Result<PathBuf, LayoutError> {
            let real = path.canonicalize().map_err(failed("resolve", path))?;
            if real.starts_with(&install) && !real.starts_with(install.join(".imgctl")) {
                return Ok(real);
            }
            Err(LayoutError::Outside { path: rootimgdir.to_owned(), real, install_dir: install_dir.to_owned() })
        };
        // Before anything is made: a link on the way must not make us create folders elsewhere.
        let there = rootimgdir.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
        inside(there)?;
        fs::create_dir_all(rootimgdir).map_err(failed("create folder", rootimgdir))?;
        let path = inside(rootimgdir)?;
        if path == install {
            return Err(LayoutError::Outside { path: rootimgdir.to_owned(), real: path, install_dir: install });
        }
        let dir = RootimgDir { path };
        dir.make_generations()?;
        Ok(dir)
    }

    /// One that is there already, with a folder of generations; nothing is made.
    pub fn find(rootimgdir: &Path, install_dir: &Path) -> Result<Option<RootimgDir>, LayoutError> {
        if rootimgdir.join(GENERATIONS).is_dir() { Self::open(rootimgdir, install_dir).map(Some) } else { Ok(None) }
    }

    fn make_generations(&self) -> Result<(), LayoutError> {
        let path = self.generations();
        match fs::create_dir(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let metadata = path.symlink_metadata().map_err(failed("examine", &path))?;
                if metadata.is_dir() {
                    return Ok(());
                }
                Err(LayoutError::Foreign { path, found: "not a folder".to_owned() })
            }
            Err(error) => Err(failed("create folder", &path)(error).into()),
        }
    }

    /// Its real path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of all generations.
    pub fn generations(&self) -> PathBuf {
        self.path.join(GENERATIONS)
    }

    /// The folder of one.
    pub fn generation(&self, number: Number) -> PathBuf {
        self.generations().join(number.to_string())
    }

    /// The folder of one that must be there.
    pub fn existing(&self, number: Number) -> Result<PathBuf, LayoutError> {
        let path = self.generation(number);
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => Ok(path),
            _ => Err(LayoutError::NoGeneration { number, rootimgdir: self.path.clone() }),
        }
    }

    /// The generations that are there, ascending.
    pub fn numbers(&self) -> Result<Vec<Number>, LayoutError> {
        let names = self.names()?;
        let mut numbers: Vec<_> = names.iter().filter_map(|name| Number::parse(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A number above all that are there; folders such as `9.old` or `.pruned-9` count, so that no number comes twice.
    pub fn next_number(&self) -> Result<Generation, LayoutError> {
        let digits = |name: &String| -> Option<u32> {
            let name = name.strip_prefix(super::retain::PRUNED).unwrap_or(name);
            let end = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
            name[..end].parse().ok()
        };
        let highest = self.names()?.iter().filter_map(digits).max().unwrap_or(0);
        let next = highest.checked_add(1).and_then(Generation::new);
        next.ok_or_else(|| LayoutError::Foreign {
            path: self.generations().join(highest.to_string()),
            found: "the highest number there can be".to_owned(),
        })
    }

    /// Everything in the folder of generations.
    pub(crate) fn names(&self) -> Result<Vec<String>, LayoutError> {
        let path = self.generations();
        let read = || fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
        let names = read().map_err(failed("list", &path))?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// The generation that `current` points to.
    pub fn live(&self) -> Result<Option<Number>, LayoutError> {
        let path = self.path.join(CURRENT);
        let target = match fs::read_link(&path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(LayoutError::Foreign { path, found: "not a link".to_owned() });
            }
            Err(error) => return Err(failed("read link", &path)(error).into()),
        };
        let number = target.strip_prefix(GENERATIONS).ok().and_then(Path::to_str).and_then(Number::parse);
        number.map(Some).ok_or_else(|| {
            let found = format!("a link to `{}`, not to a generation", target.display());
            LayoutError::Foreign { path, found }
        })
    }

    /// The archives in a generation; one that has any is sealed.
    pub fn archives(&self, number: Number) -> Vec<&'static str> {
        let folder = self.generation(number);
        ARCHIVES.into_iter().filter(|name| folder.join(name).symlink_metadata().is_ok()).collect()
    }

    /// Whether packimage has sealed it.
    pub fn is_packed(&self, number: Number) -> bool {
        !self.archives(number).is_empty()
    }

    /// The generation whose folder has the tree of `number`: itself, or the one it shares it with.
    pub fn tree_owner(&self, number: Number) -> Result<Number, LayoutError> {
        let folder = self.existing(number)?;
        let tree = folder.join(TREE);
        let metadata = tree.symlink_metadata().map_err(|_| LayoutError::NoTree { path: folder.clone() })?;
        if metadata.is_dir() {
            return Ok(number);
        }
        let target = fs::read_link(&tree).unwrap_or_default();
        let owner = shared_with(&target).filter(|owner| *owner != number);
        let real = |owner: &Number| {
            let tree = self.generation(*owner).join(TREE);
            tree.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
        };
        // xCAT's tree may be a link to another disk that a site made; it is then that generation's own.
        match owner {
            None if number == Number::XCAT && tree.is_dir() => Ok(number),
            Some(owner) if real(&owner) => Ok(owner),
            _ => Err(LayoutError::NoTree { path: folder }),
        }
    }
}

/// The target of a generation's tree that lies in generation `owner`.
pub(super) fn shared_tree(owner: Number) -> PathBuf {
    Path::new("..").join(owner.to_string()).join(TREE)
}

fn shared_with(target: &Path) -> Option<Number> {
    let name = target.strip_prefix("..").ok()?.parent()?.to_str()?;
    Number::parse(name).filter(|number| shared_tree(*number) == target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn site() -> tempfile::TempDir {
        let site = tempfile::tempdir().unwrap();
        fs::create_dir(site.path().join("install")).unwrap();
        site
    }

    #[test]
    fn a_rootimgdir_is_made_inside_the_install_root_and_nowhere_else() {
        let site = site();
        let install = site.path().join("install");
        let good = RootimgDir::open(&install.join("netboot/a/b"), &install).unwrap();
        assert!(good.path().ends_with("install/netboot/a/b"));
        symlink(site.path(), install.join("out")).unwrap();
        for bad in ["", "netboot/../../x", "out/new", ".imgctl/staging", "out"] {
            assert!(RootimgDir::open(&install.join(bad), &install).is_err(), "{bad}");
        }
        assert!(!site.path().join("new").exists());
        assert!(RootimgDir::open(Path::new("netboot"), &install).is_err());
    }

    #[test]
    fn numbers_go_on_past_all_that_is_there() {
        let site = site();
        let install = site.path().join("install");
        let dir = RootimgDir::open(&install.join("r"), &install).unwrap();
        assert_eq!(dir.next_number().unwrap().get(), 1);
        for name in ["0", "2", "10", "12.saved", ".pruned-13", ".incoming-99.1", "007", "notes"] {
            fs::create_dir(dir.generations().join(name)).unwrap();
        }
        assert_eq!(dir.next_number().unwrap().get(), 14);
        let numbers: Vec<_> = dir.numbers().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(numbers, ["0", "2", "10"]);
    }

    #[test]
    fn the_live_one_is_what_current_says_and_nothing_foreign() {
        let site = site();
        let install = site.path().join("install");
        let dir = RootimgDir::open(&install.join("r"), &install).unwrap();
        assert_eq!(dir.live().unwrap(), None);
        symlink(".generations/4", dir.path().join(CURRENT)).unwrap();
        assert_eq!(dir.live().unwrap(), Some(Number(4)));
        for target in ["/etc", ".generations/../4", ".generations/04", ".generations/x"] {
            fs::remove_file(dir.path().join(CURRENT)).unwrap();
            symlink(target, dir.path().join(CURRENT)).unwrap();
            assert!(matches!(dir.live(), Err(LayoutError::Foreign { .. })), "{target}");
        }
    }

    #[test]
    fn a_tree_that_is_shared_has_one_owner() {
        let site = site();
        let install = site.path().join("install");
        let dir = RootimgDir::open(&install.join("r"), &install).unwrap();
        fs::create_dir_all(dir.generation(Number(1)).join(TREE)).unwrap();
        for (number, target) in [(2, "../1/rootimg"), (3, "../2/rootimg"), (4, "/etc"), (5, "../5/rootimg")] {
            fs::create_dir(dir.generation(Number(number))).unwrap();
            symlink(target, dir.generation(Number(number)).join(TREE)).unwrap();
        }
        assert_eq!(dir.tree_owner(Number(1)).unwrap(), Number(1));
        assert_eq!(dir.tree_owner(Number(2)).unwrap(), Number(1));
        for bad in [3, 4, 5, 6] {
            assert!(dir.tree_owner(Number(bad)).is_err(), "{bad}");
        }
    }
}
