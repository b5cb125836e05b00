//! The attempts in hand, on disk: one small file each, there before the work starts and gone when the coordinator
//! has the attempt's last event.
//!
//! After a crash it says what was in hand. Such an attempt is reported lost and never run again, unless its last
//! event had already been written down: then that event is only sent again.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::id::AttemptId;
use serde::{Deserialize, Serialize};

use crate::event::{Event, What};
use crate::worker::report::now_ms;

/// The journal can't be kept, so nothing may be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the journal `{path}`", path = path.display())]
pub struct JournalError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// An attempt in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which.
    pub attempt: AttemptId,
    /// For messages.
    pub osimage: String,
    /// Events that the coordinator has not acknowledged, in order.
    pub unacknowledged: Vec<Event>,
    /// How far it has.
    pub acknowledged: u64,
}

impl Entry {
    /// An attempt of which nothing is known yet.
    pub fn new(attempt: AttemptId, osimage: String) -> Self {
        Self { attempt, osimage, unacknowledged: Vec::new(), acknowledged: 0 }
    }

    /// Gives what happened its number. `None` after the last event: nothing can happen any more.
    pub fn record(&mut self, what: What) -> Option<&Event> {
        if self.is_over() {
            return None;
        }
        let last = self.unacknowledged.last().map_or(self.acknowledged, |event| event.number);
        self.unacknowledged.push(Event { number: last + 1, time_ms: now_ms(), what });
        self.unacknowledged.last()
    }

    /// The coordinator has everything up to `number`. True if that was the last event.
    pub fn acknowledge(&mut self, number: u64) -> bool {
        let over = self.is_over();
        self.acknowledged = self.acknowledged.max(number);
        self.unacknowledged.retain(|event| event.number > number);
        over && self.unacknowledged.is_empty()
    }

    /// Whether its last event has happened.
    pub fn is_over(&self) -> bool {
        self.unacknowledged.last().is_some_and(|event| event.what.is_final())
    }
}

/// The folder of entries.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
}

impl Journal {
    /// Opens the journal, making its folder if need be.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let error = |source| JournalError { doing: "open", path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(error)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// What an earlier run of the agent had in hand. A file that can't be read still says which attempt it was; one that a
    /// kill left half written goes.
    pub fn load(&self) -> Result<Vec<Entry>, JournalError> {
        let error = |source| JournalError { doing: "read", path: self.folder.clone(), source };
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(error)? {
            let path = file.map_err(error)?.path();
            // What was never renamed was never in hand.
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&path).map_err(error)?;
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(attempt) = path.file_stem().and_then(|stem| parse_attempt(&stem.to_string_lossy())) else {
                continue;
            };
            let read = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
            entries.push(
                read.filter(|entry| entry.attempt == attempt).unwrap_or_else(|| Entry::new(attempt, String::new())),
            );
        }
        Ok(entries)
    }

    /// Writes an entry so that a crash at any moment leaves the old one or the new one.
    pub fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let path = self.path(entry.attempt);
        let error = |source| JournalError { doing: "write", path: path.clone(), source };
        let aside = path.with_extension("new");
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(&serde_json::to_vec(entry)?)?;
            file.sync_all()?;
            fs::rename(&aside, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| {
            // A full disk has just room for the beginning of it. What stays is overwritten another time.
            let _ = fs::remove_file(&aside);
            error(source)
        })
    }

    /// Forgets an attempt.
    pub fn remove(&self, attempt: AttemptId) -> Result<(), JournalError> {
        let path = self.path(attempt);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(JournalError { doing: "clear", path, source })
            }
            _ => Ok(()),
        }
    }

    fn path(&self, attempt: AttemptId) -> PathBuf {
        self.folder.join(format!("{attempt}.json"))
    }
}

/// `<build>.<attempt>`, as folders and files of an attempt are named.
pub fn parse_attempt(name: &str) -> Option<AttemptId> {
    let (build, attempt) = name.split_once('.')?;
    Some(AttemptId { build: build.parse().ok()?, attempt: attempt.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::stage::Stage;

    fn entry() -> Entry {
        Entry::new(parse_attempt("7.2").unwrap(), "compute".to_owned())
    }

    #[test]
    fn events_are_numbered_without_gaps_across_acknowledgements() {
        let mut entry = entry();
        entry.record(What::StageStarted(Stage::Prepare));
        entry.record(What::StageStarted(Stage::Packages));
        assert!(!entry.acknowledge(2));
        assert_eq!(entry.record(What::Dropped).unwrap().number, 3);
        assert_eq!(entry.record(What::Dropped), None);
        assert!(!entry.acknowledge(1));
        assert!(entry.acknowledge(3));
    }

    #[test]
    fn an_entry_outlives_the_agent_and_a_torn_one_still_names_its_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let mut entry = entry();
        entry.record(What::Lost { reason: "stopped".to_owned() });
        journal.write(&entry).unwrap();
        fs::write(folder.path().join("8.1.json"), "{").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        fs::write(folder.path().join("7.2.new"), "{").unwrap();
        let mut loaded = journal.load().unwrap();
        loaded.sort_by_key(|entry| entry.attempt);
        assert_eq!(loaded, [entry.clone(), Entry::new(parse_attempt("8.1").unwrap(), String::new())]);
        assert!(!folder.path().join("7.2.new").exists());
        journal.remove(entry.attempt).unwrap();
        journal.remove(entry.attempt).unwrap();
        assert_eq!(journal.load().unwrap().len(), 1);
    }
}
