//! The trial: one program of an architecture, run in an empty root as an image's own programs are. If it doesn't run,
//! the kernel's list of interpreters tells why.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::arch::Arch;

use super::binfmt::{Entry, Registered};
use super::target;
use crate::build::failure::chain;
use crate::sys::exec::{Cmd, CmdError};

/// How long the program may take: it does next to nothing, but the node may be busy.
const LIMIT: &str = "30";
/// The name of the program in its root.
const NAME: &str = "program";
/// How often a file that somebody else's new process still holds open is run again, and after how long.
const AGAIN: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Why programs of an architecture don't run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// This agent can't try it.
    #[error("this agent has no program of {0} to try out")]
    NoProgram(Arch),
    /// It could not be tried.
    #[error("it could not be tried out whether programs of {arch} run: {why}")]
    NotTried {
        /// Of what.
        arch: Arch,
        /// What went wrong.
        why: String,
    },
    /// The kernel's list can't be seen.
    #[error("programs of {0} don't run, and binfmt_misc, where the kernel lists interpreters for them, is not mounted")]
    NotMounted(Arch),
    /// Nothing is listed.
    #[error("programs of {0} don't run: no interpreter is registered for them with the kernel (binfmt_misc)")]
    NotRegistered(Arch),
    /// The list is switched off, or the entry.
    #[error("programs of {arch} don't run: {what} is disabled")]
    Disabled {
        /// Of what.
        arch: Arch,
        /// `binfmt_misc as a whole`, or an entry's file.
        what: String,
    },
    /// An image's root has no interpreter in it.
    #[error(
        "programs of {arch} don't run in an image's root: interpreter `{interpreter}` was registered without the flag F",
        interpreter = .interpreter.display()
    )]
    NoFlag {
        /// Of what.
        arch: Arch,
        /// The entry's name.
        entry: String,
        /// The program.
        interpreter: PathBuf,
    },
    /// What is registered is not there.
    #[error("programs of {arch} don't run: their interpreter `{interpreter}` is not there", interpreter = .interpreter.display())]
    NoInterpreter {
        /// Of what.
        arch: Arch,
        /// The program.
        interpreter: PathBuf,
    },
    /// All is there, and still.
    #[error("programs of {arch} don't run with `{interpreter}`: {how}", interpreter = .interpreter.display())]
    DoesNotRun {
        /// Of what.
        arch: Arch,
        /// The program.
        interpreter: PathBuf,
        /// How the trial ended.
        how: String,
    },
}

impl Fault {
    /// Its name for programs, by what has to be done.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotMounted(_) | Self::NotRegistered(_) | Self::Disabled { .. } => "emulation-not-registered",
            Self::NoFlag { .. } => "emulation-no-f-flag",
            Self::NoProgram(_) | Self::NotTried { .. } => "emulation-does-not-run",
            Self::NoInterpreter { .. } | Self::DoesNotRun { .. } => "emulation-does-not-run",
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        const THEN: &str = "then restart imgctl-agent";
        match self {
            Self::NoProgram(arch) => format!("take {arch} out of `allow_emulation` in agent.toml"),
            Self::NotTried { .. } => format!("put that right, {THEN}"),
            Self::NotMounted(_) => format!(
                "`mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc` on the node, register qemu-user there with the flag F, {THEN}"
            ),
            Self::NotRegistered(_) => format!(
                "install qemu-user-static on the node and register it in /proc/sys/fs/binfmt_misc with the flag F, {THEN}"
            ),
            Self::Disabled { what, .. } => {
                let file = if what.starts_with('/') { what } else { "/proc/sys/fs/binfmt_misc/status" };
                format!("`echo 1 > {file}`, {THEN}")
            }
            Self::NoFlag { entry, .. } => {
                format!("`echo -1 > /proc/sys/fs/binfmt_misc/{entry}` and register it again with the flag F, {THEN}")
            }
            Self::NoInterpreter { .. } => format!("install qemu-user-static on the node, {THEN}"),
            Self::DoesNotRun { .. } => format!("install qemu-user-static anew on the node, {THEN}"),
        }
    }
}

/// Runs the program of `arch` in a root of its own below `folder`; `list` tells, if it is needed, where the kernel's list
/// can be read.
pub fn run(arch: Arch, folder: &Path, list: impl FnOnce() -> PathBuf) -> Result<(), Fault> {
    let program = target::program(arch).ok_or(Fault::NoProgram(arch))?;
    let root = folder.join(format!(".trial-{arch}-{}", std::process::id()));
    // Also what an agent of this number left there: all of it is of our own making, one file in one folder.
    let clear = || {
        let _ = fs::remove_file(root.join(NAME));
        let _ = fs::remove_dir(&root);
    };
    clear();
    let made = make(&root, &program);
    let outcome = made.map(|()| start(&root));
    clear();
    let not_tried = |why: String| Fault::NotTried { arch, why };
    let outcome = outcome.map_err(|error| not_tried(format!("`{}`: {error}", root.display())))?;
    match outcome {
        Ok(said) if said == target::line(arch).as_bytes() => Ok(()),
        Ok(_) => Err(why(arch, &program, &list(), "it ran and wrote something else than it should")),
        Err(error @ (CmdError::Start { .. } | CmdError::Lost { .. })) => Err(not_tried(chain(&error))),
        Err(error) => Err(why(arch, &program, &list(), &how(&error))),
    }
}

fn make(root: &Path, program: &[u8]) -> io::Result<()> {
    if let Some(folder) = root.parent() {
        fs::create_dir_all(folder)?;
    }
    DirBuilder::new().mode(0o755).create(root)?;
    File::options().write(true).create_new(true).mode(0o755).open(root.join(NAME))?.write_all(program)
}

fn start(root: &Path) -> Result<Vec<u8>, CmdError> {
    let cmd = Cmd::new("timeout").args(["--kill-after=5", LIMIT, "chroot"]).arg(root).arg(format!("/{NAME}"));
    for _ in 0..AGAIN {
        match cmd.capture() {
            Err(error) if error.lines().iter().any(|line| line.contains("Text file busy")) => {}
            outcome => return outcome,
        }
        std::thread::sleep(PAUSE);
    }
    cmd.capture()
}

/// How the trial ended, in a few words.
fn how(error: &CmdError) -> String {
    match error {
        CmdError::Failed { status, .. } if status.code() == Some(124) => format!("it did not end within {LIMIT} s"),
        CmdError::Failed { lines, .. } => match lines.last() {
            Some(line) => line.clone(),
            None => error.to_string(),
        },
        other => chain(other),
    }
}

/// Why it didn't run, by what the kernel lists.
fn why(arch: Arch, program: &[u8], list: &Path, how: &str) -> Fault {
    let entries = match Registered::read(list) {
        Registered::NotMounted => return Fault::NotMounted(arch),
        Registered::Off => return Fault::Disabled { arch, what: "binfmt_misc as a whole".to_owned() },
        Registered::Entries(entries) => entries,
    };
    let ours: Vec<Entry> = entries.into_iter().filter(|entry| entry.is_for(program)).collect();
    // The kernel takes the one that was registered last, which can't be told; it failed, so it is one with a fault that is seen
    // here, if there is one.
    let taken = ours.into_iter().max_by_key(|entry| (entry.enabled, !entry.held));
    match taken {
        None => Fault::NotRegistered(arch),
        Some(Entry { enabled: false, name, .. }) => {
            Fault::Disabled { arch, what: format!("{}/{name}", super::binfmt::PLACE) }
        }
        Some(Entry { held: false, interpreter, .. }) if !interpreter.exists() => {
            Fault::NoInterpreter { arch, interpreter }
        }
        Some(Entry { held: false, name: entry, interpreter, .. }) => Fault::NoFlag { arch, entry, interpreter },
        Some(Entry { interpreter, .. }) => Fault::DoesNotRun { arch, interpreter, how: how.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "enabled\ninterpreter /bin/sh\nflags: F\noffset 0\n\
        magic 7f454c4602010100000000000000000002001500\nmask fffffffffffffffcfffffffffffffffffeffff00\n";

    fn found(files: &[(&str, &str)]) -> Fault {
        let list = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(list.path().join(name), text).unwrap();
        }
        let program = target::program(Arch::Ppc64le).unwrap();
        why(Arch::Ppc64le, &program, list.path(), "it crashed")
    }

    #[test]
    fn each_fault_has_its_own_message_and_remedy() {
        let on = [("register", ""), ("status", "enabled\n")];
        let one = |entry: &str| found(&[on[0], on[1], ("ours", entry)]);
        let cases = [
            (found(&[]), "emulation-not-registered", "is not mounted", "mount -t binfmt_misc"),
            (
                found(&[on[0], ("status", "disabled\n")]),
                "emulation-not-registered",
                "as a whole is disabled",
                "/status`",
            ),
            (found(&on), "emulation-not-registered", "no interpreter is registered", "install qemu-user-static"),
            (
                one(&ENTRY.replace("enabled", "disabled")),
                "emulation-not-registered",
                "binfmt_misc/ours is disabled",
                "echo 1 > /proc/sys/fs/binfmt_misc/ours",
            ),
            (one(&ENTRY.replace("flags: F", "flags: ")), "emulation-no-f-flag", "without the flag F", "echo -1 > "),
            (
                one(&ENTRY.replace("flags: F", "flags: ").replace("/bin/sh", "/no/such/qemu")),
                "emulation-does-not-run",
                "`/no/such/qemu` is not there",
                "install qemu-user-static",
            ),
            (one(ENTRY), "emulation-does-not-run", "with `/bin/sh`: it crashed", "anew"),
        ];
        for (fault, name, cause, remedy) in cases {
            assert_eq!(fault.name(), name, "{fault}");
            assert!(fault.to_string().contains(cause), "{cause}: {fault}");
            assert!(fault.remedy().contains(remedy), "{remedy}: {}", fault.remedy());
        }
    }

    #[test]
    fn a_good_entry_beside_a_bad_one_is_the_one_that_counts() {
        let bad = ENTRY.replace("enabled", "disabled");
        let fault = found(&[("register", ""), ("status", "enabled\n"), ("a", ENTRY), ("b", &bad)]);
        assert!(matches!(fault, Fault::DoesNotRun { .. }), "{fault}");
    }

    fn nowhere() -> PathBuf {
        "/nonexistent".into()
    }

    #[test]
    fn what_can_not_be_tried_is_not_said_to_fail() {
        let fault = run(Arch::Ppc64le, Path::new("/proc/none"), nowhere).unwrap_err();
        assert!(matches!(fault, Fault::NotTried { .. }), "{fault}");
        assert_eq!(run(Arch::S390x, Path::new("/tmp"), nowhere), Err(Fault::NoProgram(Arch::S390x)));
    }
}
