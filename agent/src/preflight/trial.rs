//! What is tried on an install root that is in view: whose it is, writing, reading back, room, clocks.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use model::agent::{Condition, Effect};
use rustix::fs::{Advice, fadvise};

use super::conditions::{
    INSTALL_CLOCK, INSTALL_DATA_FAULT, INSTALL_NFS_VERSION, INSTALL_NO_ANSWER, INSTALL_NOT_OURS, INSTALL_NOT_WRITABLE,
    INSTALL_ROOT_SQUASH, INSTALL_SPACE,
};
use crate::sys::mount::MountPoint;
use crate::sys::probe::{human, space};

/// What is written, and read back. So short a file is what a server with the READ_PLUS fault returns empty.
const WORDS: &[u8] = b"imgctl";
/// More than that doesn't come back from a server in its senses.
const LONGEST: u64 = 64;
/// No archive of an image fits in less, in bytes.
const LEAST_ROOM: u64 = 1 << 30;
/// Clocks may differ by so much.
const APART: Duration = Duration::from_secs(5);

/// How it went.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Whether the proof folder can be written to.
    pub writable: bool,
    /// What is to be known or mended.
    pub conditions: Vec<Condition>,
}

/// Tries the root; an error is why it can't be used at all. Without `proof` nothing is written. May block for ever.
pub fn run(root: &Path, proof: Option<&Path>, mount: Option<&MountPoint>) -> Result<Trial, Condition> {
    let mut trial = Trial::default();
    if mount.is_some_and(|mount| mount.kind.starts_with("nfs") && mount.has_option("vers=4.2")) {
        let whence = mount.map(|mount| mount.source.clone()).unwrap_or_default();
        trial.conditions.push(INSTALL_NFS_VERSION.found(format!("{whence} is mounted with NFS 4.2")));
    }
    let Some(proof) = proof.map(|proof| root.join(proof)) else { return Ok(trial) };
    if let Err(error) = fs::metadata(&proof) {
        let whence = mount.map(|mount| format!(" ({})", mount.source)).unwrap_or_default();
        let shown = root.display();
        return Err(match error.kind() {
            io::ErrorKind::NotFound => {
                INSTALL_NOT_OURS.found(format!("`{shown}`{whence} is not this coordinator's install root"))
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => {
                INSTALL_NOT_OURS.found(format!("`{shown}`{whence} can't be looked at: {error}"))
            }
            // A soft mount's server that is away, a handle of before its restart.
            _ => INSTALL_NO_ANSWER.found(format!("`{shown}`{whence} can't be looked at: {error}")),
        });
    }
    match write(&proof) {
        Ok(written) => {
            trial.writable = true;
            trial.conditions.extend(judge(root, &written)?);
        }
        Err(error) => {
            let detail = format!("nothing can be written to `{}`: {error}", root.display());
            trial.conditions.push(refusal(&error, detail));
        }
    }
    // What can't be measured is no condition.
    let (free, _) = space(root).unwrap_or((u64::MAX, 0));
    if trial.writable && free < LEAST_ROOM {
        trial.conditions.push(INSTALL_SPACE.found(format!("`{}` has only {} free", root.display(), human(free))));
    }
    Ok(trial)
}

/// A full disk is another thing than one that may not be written to. In both cases archives are uploaded, and the coordinator
/// says what it has room for.
fn refusal(error: &io::Error, detail: String) -> Condition {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Condition { effect: Effect::NoPublish, ..INSTALL_SPACE.found(detail) }
        }
        _ => INSTALL_NOT_WRITABLE.found(detail),
    }
}

/// A file that was written and read back.
#[derive(Debug)]
struct Written {
    back: Vec<u8>,
    owner: u32,
    /// By the server's clock, and by ours.
    modified: SystemTime,
    now: SystemTime,
}

fn write(folder: &Path) -> io::Result<Written> {
    // Everybody writes there: nothing that is there already is opened, whatever it leads to.
    let mut name = [0; 16];
    getrandom::fill(&mut name).map_err(io::Error::other)?;
    let path = folder.join(hex::encode(name));
    let outcome = written(&path);
    // A server that can't remove it clears it away at its next start.
    let _ = fs::remove_file(&path);
    outcome
}

fn written(path: &Path) -> io::Result<Written> {
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.write_all(WORDS)?;
    file.sync_all()?;
    let now = SystemTime::now();
    // So that it is the server that is read, not this node's memory.
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let found = file.metadata()?;
    // What can't be read back is a fault of the data, like what is read back wrong.
    let mut back = Vec::new();
    if file.seek(SeekFrom::Start(0)).and_then(|_| (&file).take(LONGEST).read_to_end(&mut back)).is_err() {
        back.clear();
    }
    Ok(Written { back, owner: found.uid(), modified: found.modified()?, now })
}

fn judge(root: &Path, written: &Written) -> Result<Vec<Condition>, Condition> {
    let shown = root.display();
    if written.back != WORDS {
        let detail = format!("of {} bytes written to `{shown}`, {} came back right", WORDS.len(), same(&written.back));
        return Err(INSTALL_DATA_FAULT.found(detail));
    }
    let mut conditions = Vec::new();
    if written.owner != 0 {
        conditions.push(
            INSTALL_ROOT_SQUASH.found(format!("what root writes to `{shown}` belongs to user {}", written.owner)),
        );
    }
    let behind = written.now.duration_since(written.modified);
    let (apart, word) = behind.map_or_else(|error| (error.duration(), "ahead of"), |apart| (apart, "behind"));
    if apart > APART {
        let detail = format!("the server's clock is {} s {word} this node's", apart.as_secs());
        conditions.push(INSTALL_CLOCK.found(detail));
    }
    Ok(conditions)
}

fn same(back: &[u8]) -> usize {
    back.iter().zip(WORDS).take_while(|(back, word)| back == word).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(back: &[u8], owner: u32, ahead: i64) -> Written {
        let now = SystemTime::now();
        let apart = Duration::from_secs(ahead.unsigned_abs());
        let modified = if ahead > 0 { now + apart } else { now - apart };
        Written { back: back.to_vec(), owner, modified, now }
    }

    fn names(judged: Result<Vec<Condition>, Condition>) -> Vec<String> {
        judged.unwrap_or_else(|condition| vec![condition]).into_iter().map(|condition| condition.name).collect()
    }

    #[test]
    fn what_came_back_is_judged() {
        let root = Path::new("/install");
        for (written, expected) in [
            (written(WORDS, 0, 0), &[][..]),
            (written(WORDS, 65534, 2), &["install-root-squash"]),
            (written(WORDS, 0, 60), &["install-clock"]),
            (written(WORDS, 0, -60), &["install-clock"]),
            (written(b"", 0, 0), &["install-data-fault"]),
            (written(b"imgxxx", 0, 0), &["install-data-fault"]),
        ] {
            assert_eq!(names(judge(root, &written)), expected, "{written:?}");
        }
    }

    #[test]
    fn a_root_is_ours_if_it_has_the_proof_and_nothing_stays_there() {
        let root = tempfile::tempdir().unwrap();
        let proof = Path::new("proof");
        assert_eq!(run(root.path(), Some(proof), None).unwrap_err().name, "install-not-ours");
        fs::create_dir(root.path().join(proof)).unwrap();
        assert_eq!(run(root.path(), Some(proof), None).unwrap(), Trial { writable: true, conditions: Vec::new() });
        assert_eq!(fs::read_dir(root.path().join(proof)).unwrap().count(), 0);
        assert_eq!(run(root.path(), None, None).unwrap(), Trial::default());
    }

    #[test]
    fn a_full_disk_is_not_taken_for_one_that_is_read_only() {
        let told = |number| {
            let condition = refusal(&io::Error::from_raw_os_error(number), String::new());
            (condition.name, condition.effect)
        };
        let (full, read_only) = (rustix::io::Errno::NOSPC, rustix::io::Errno::ROFS);
        assert_eq!(told(full.raw_os_error()), ("install-space".into(), Effect::NoPublish));
        assert_eq!(told(read_only.raw_os_error()), ("install-not-writable".into(), Effect::NoPublish));
    }

    #[test]
    fn nfs_4_2_is_told() {
        let root = tempfile::tempdir().unwrap();
        let mut table = crate::sys::mount::parse(
            b"40 27 0:44 / /install rw - nfs4 mn:/install rw,vers=4.2,hard\n41 27 0:44 / /b rw - nfs4 mn:/b rw,vers=4.1\n",
        );
        let (newer, older) = (table.remove(0), table.remove(0));
        let named = |mount| names(Ok(run(root.path(), None, Some(mount)).unwrap().conditions));
        assert_eq!((named(&newer), named(&older)), (vec!["install-nfs-version".to_owned()], Vec::new()));
    }
}
