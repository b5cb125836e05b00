//! A small disk that can be filled.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};

/// Enough for the store's reserve and some more.
const SIZE: u64 = 128 << 20;

pub(crate) struct Disk {
    pub(crate) path: PathBuf,
}

impl Disk {
    pub(crate) fn mount(path: &Path) -> Self {
        let options = std::ffi::CString::new(format!("size={SIZE}")).unwrap();
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), options.as_c_str()).expect("this test needs root");
        Self { path: path.to_owned() }
    }

    /// Takes all that is free, to the last block.
    pub(crate) fn fill(&self) {
        self.take();
        assert!(File::create(self.path.join("more")).and_then(|mut more| more.write_all(b"x")).is_err());
    }

    /// Takes what is free at the moment.
    pub(crate) fn take(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for chunk in [1 << 20, 4096, 1] {
            while file.write_all(&vec![b'x'; chunk]).is_ok() {}
        }
    }

    /// Takes all but about so many bytes.
    pub(crate) fn fill_but(&self, left: u64) {
        let mut file = File::create(self.ballast()).unwrap();
        while coordinator::room::free_at(&self.path) > left {
            file.write_all(&vec![b'x'; 1 << 20]).unwrap();
        }
    }

    /// Gives it back.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}
