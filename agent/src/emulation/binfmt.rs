//! The kernel's list of interpreters for foreign programs (`binfmt_misc`), read to tell why one doesn't run.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the list is looked for.
pub const PLACE: &str = "/proc/sys/fs/binfmt_misc";

/// What the kernel lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// There is no list to be seen: it isn't mounted, or this kernel has none.
    NotMounted,
    /// It is switched off as a whole.
    Off,
    /// One for each interpreter.
    Entries(Vec<Entry>),
}

/// An interpreter and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it was registered.
    pub name: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// The program that runs the others.
    pub interpreter: PathBuf,
    /// Whether the kernel holds that program open since it was registered (flag `F`), so that it is found in an image's
    /// root too.
    pub held: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Registered {
    /// Reads the list mounted at `place`.
    pub fn read(place: &Path) -> Self {
        if !place.join("register").exists() {
            return Self::NotMounted;
        }
        if fs::read_to_string(place.join("status")).is_ok_and(|status| status.trim() == "disabled") {
            return Self::Off;
        }
        let files = fs::read_dir(place).into_iter().flatten().flatten().filter_map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            Entry::parse(&name, &fs::read_to_string(file.path()).ok()?)
        });
        let mut entries: Vec<Entry> = files.collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Self::Entries(entries)
    }
}

impl Entry {
    /// Reads what the kernel says of one; none for `register` and `status`, and for those that go by a file's name.
    pub fn parse(name: &str, text: &str) -> Option<Self> {
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let magic = hex::decode(field("magic ")?).ok()?;
        let mask = match field("mask ") {
            Some(mask) => hex::decode(mask).ok()?,
            None => vec![0xff; magic.len()],
        };
        Some(Self {
            name: name.to_owned(),
            enabled: text.lines().next().is_some_and(|line| line == "enabled"),
            interpreter: field("interpreter ")?.into(),
            held: field("flags:").is_some_and(|flags| flags.contains('F')),
            offset: field("offset ").and_then(|offset| offset.parse().ok()).unwrap_or(0),
            magic,
            mask,
        })
    }

    /// Whether it is for a program that begins like this.
    pub fn is_for(&self, program: &[u8]) -> bool {
        let Some(there) = program.get(self.offset..self.offset + self.magic.len()) else { return false };
        let same = |((there, magic), mask): ((&u8, &u8), &u8)| (there ^ magic) & mask == 0;
        self.mask.len() == self.magic.len() && there.iter().zip(&self.magic).zip(&self.mask).all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulation::target;
    use model::arch::Arch;

    /// What Linux 6.18 says of an entry for ppc64le.
    pub(crate) const PPC64LE: &str = "enabled\ninterpreter /usr/bin/qemu-ppc64le-static\nflags: F\noffset 0\n\
        magic 7f454c4602010100000000000000000002001500\nmask fffffffffffffffcfffffffffffffffffeffff00\n";

    #[test]
    fn an_entry_is_for_the_programs_that_its_magic_fits() {
        let entry = Entry::parse("qemu-ppc64le", PPC64LE).unwrap();
        assert!(entry.enabled && entry.held && entry.interpreter == Path::new("/usr/bin/qemu-ppc64le-static"));
        assert!(entry.is_for(&target::program(Arch::Ppc64le).unwrap()));
        assert!(!entry.is_for(&target::program(Arch::X86_64).unwrap()));
        assert!(!entry.is_for(b"\x7fELF"));
        for (from, to) in [("enabled", "disabled"), ("flags: F", "flags: OP"), ("flags: F", "flags: ")] {
            let entry = Entry::parse("x", &PPC64LE.replace(from, to)).unwrap();
            assert!(!entry.enabled || !entry.held, "{to}");
        }
        assert_eq!(Entry::parse("register", ""), None);
        assert_eq!(Entry::parse("jar", "enabled\ninterpreter /usr/bin/jexec\nflags: \nextension .jar\n"), None);
    }

    #[test]
    fn a_list_that_is_not_mounted_or_is_off_is_told_from_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Registered::read(folder.path()), Registered::NotMounted);
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("register", "");
        write("status", "enabled\n");
        assert_eq!(Registered::read(folder.path()), Registered::Entries(Vec::new()));
        write("qemu-ppc64le", PPC64LE);
        let Registered::Entries(entries) = Registered::read(folder.path()) else { panic!("it is on") };
        assert_eq!(entries.len(), 1);
        write("status", "disabled\n");
        assert_eq!(Registered::read(folder.path()), Registered::Off);
    }
}
