//! The kernel's interpreter for ppc64le, registered for as long as the test runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PLACE: &str = "/proc/sys/fs/binfmt_misc";
const INTERPRETER: &str = "/usr/bin/qemu-ppc64le-static";

/// ELF, 64 bits, low byte first, executable or shared object, PowerPC64; in the kernel's own notation.
const MAGIC: &str = r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x15\x00";
const MASK: &str = r"\xff\xff\xff\xff\xff\xff\xff\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\x00";

/// An entry under a name of its own, beside what is there. It goes with this, and so does the mount if it is ours.
#[derive(Debug)]
pub(crate) struct Registered {
    entry: PathBuf,
    mounted: bool,
}

impl Registered {
    /// Registers it as it has to be: with the flag F.
    pub(crate) fn new() -> Self {
        Self::with("F")
    }

    /// Registers it with these flags. The newest entry goes before all others.
    pub(crate) fn with(flags: &str) -> Self {
        assert!(
            Path::new(INTERPRETER).exists(),
            "{INTERPRETER} is missing; `deploy/tools/install.sh test` installs it"
        );
        let mounted = !Path::new(PLACE).join("register").exists();
        if mounted {
            let made = Command::new("mount").args(["-t", "binfmt_misc", "binfmt_misc", PLACE]).status();
            let made = made.expect("there is a mount");
            assert!(made.success(), "this test needs root, and a kernel with binfmt_misc: {PLACE} can't be mounted");
        }
        let name = format!("imgctl-test{flags}-{}", std::process::id());
        let line = format!(":{name}:M:0:{MAGIC}:{MASK}:{INTERPRETER}:{flags}");
        fs::write(Path::new(PLACE).join("register"), line).expect("root may register an interpreter");
        Self { entry: Path::new(PLACE).join(name), mounted }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let gone = fs::write(&self.entry, "-1");
        if self.mounted {
            // Somebody may have come to use it meanwhile.
            let _ = Command::new("umount").arg(PLACE).status();
        }
        if let Err(error) = gone {
            eprintln!("{} is left: {error}", self.entry.display());
        }
    }
}
