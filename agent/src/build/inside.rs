//! [`Inside`]: the image made ready to run its own programs in it, and put back as it was.
//!
//! While it is open, the image has its `/proc`, `/sys`, a `/dev` of its own with nothing of the node's hardware, an
//! empty `/run`, the node's name server, and on Debian's family a `policy-rc.d` that starts no service.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::MountFlags;

use super::failure::StageError;
use super::place::Place;
use crate::sys::mount::{Mounts, unmount_below};
use crate::sys::process::kill_inside;
use crate::worker::report::StageLog;

/// What Debian's and Ubuntu's maintainer scripts ask before they start a service: 101 is "not allowed".
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Name, major, minor of what every program may expect.
const NODES: [(&str, u32, u32); 7] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("console", 5, 1),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// An image that programs can run in.
#[derive(Debug)]
pub struct Inside<'a> {
    root: &'a Path,
    log: &'a StageLog<'a>,
    mounts: Mounts,
    lent: Vec<Lent>,
}

/// A file that stands in the image only for the time of the build.
#[derive(Debug)]
struct Lent {
    /// In the image; where that lies is looked up again, for packages move folders.
    name: String,
    content: Vec<u8>,
    before: Option<Before>,
}

/// A file that a lent one stands for.
#[derive(Debug)]
struct Before {
    content: Vec<u8>,
    mode: fs::Permissions,
    modified: SystemTime,
}

impl Before {
    fn read(path: &Path) -> Option<Self> {
        let found = path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
        Some(Self { content: fs::read(path).ok()?, mode: found.permissions(), modified: found.modified().ok()? })
    }

    fn put_back(&self, path: &Path) -> io::Result<()> {
        fs::write(path, &self.content)?;
        fs::set_permissions(path, self.mode.clone())?;
        fs::File::options().write(true).open(path)?.set_modified(self.modified)
    }
}

impl<'a> Inside<'a> {
    /// Makes it ready.
    pub fn open(root: &'a Path, log: &'a StageLog<'a>) -> Result<Self, StageError> {
        let mut inside = Self { root, log, mounts: Mounts::default(), lent: Vec::new() };
        inside.mount()?;
        for name in ["resolv.conf", "hosts"] {
            if let Ok(content) = fs::read(Path::new("/etc").join(name)) {
                inside.lend(&format!("etc/{name}"), content, 0o644)?;
            }
        }
        if Place::new(root).has("var/lib/dpkg") {
            inside.lend("usr/sbin/policy-rc.d", POLICY.into(), 0o755)?;
        }
        Ok(inside)
    }

    fn mount(&mut self) -> Result<(), StageError> {
        let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let place = Place::new(self.root);
        self.mounts.special("proc", &place.folder("proc")?, quiet, None)?;
        self.mounts.special("sysfs", &place.folder("sys")?, quiet | MountFlags::RDONLY, None)?;
        let run = place.folder("run")?;
        self.mounts.special("tmpfs", &run, MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))?;
        let dev = place.folder("dev")?;
        self.mounts.special("tmpfs", &dev, MountFlags::NOSUID, Some(c"mode=755"))?;
        devices(&dev).map_err(StageError::file("fill", &dev))?;
        let options = c"newinstance,ptmxmode=0666,mode=620,gid=5";
        self.mounts.special("devpts", &dev.join("pts"), MountFlags::NOSUID | MountFlags::NOEXEC, Some(options))?;
        Ok(())
    }

    /// Puts a file in the image for the time of the build. A symbolic link stays what it is: what it points at
    /// lies below `/run`, which is empty now.
    fn lend(&mut self, name: &str, content: Vec<u8>, mode: u32) -> Result<(), StageError> {
        let Some(path) = Place::new(self.root).at(name) else { return Ok(()) };
        let before = Before::read(&path);
        let taken = before.is_none() && path.symlink_metadata().is_ok();
        if taken || !path.parent().is_some_and(Path::is_dir) {
            return Ok(());
        }
        fs::write(&path, &content).map_err(StageError::file("write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(StageError::file("write", &path))?;
        self.lent.push(Lent { name: name.to_owned(), content, before });
        Ok(())
    }

    /// Puts everything back, ends what still runs in the image, and takes down what scripts mounted there.
    pub fn close(mut self) -> Result<(), StageError> {
        for name in kill_inside(self.root) {
            self.log.say(format!("ended `{name}`, which a package had left running in the image"));
        }
        for lent in std::mem::take(&mut self.lent) {
            take_back(Place::new(self.root), &lent).map_err(StageError::file("restore", Path::new(&lent.name)))?;
        }
        self.mounts.release()?;
        for point in unmount_below(self.root)? {
            self.log.say(format!("unmounted `{}`, which a package had left mounted", point.display()));
        }
        Ok(())
    }
}

/// What a package has put in its place since stays.
fn take_back(place: Place<'_>, lent: &Lent) -> io::Result<()> {
    let Some(path) = place.at(&lent.name) else { return Ok(()) };
    if Before::read(&path).is_none_or(|there| there.content != lent.content) {
        return Ok(());
    }
    match &lent.before {
        Some(before) => before.put_back(&path),
        None => fs::remove_file(&path),
    }
}

fn devices(dev: &Path) -> io::Result<()> {
    for (name, major, minor) in NODES {
        let path = dev.join(name);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?;
        // The node's umask has had its say in the line above.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name))?;
    }
    fs::create_dir(dev.join("pts"))?;
    fs::create_dir(dev.join("shm"))?;
    fs::set_permissions(dev.join("shm"), fs::Permissions::from_mode(0o1777))
}
