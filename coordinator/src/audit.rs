//! The audit log: one line for every change made through the API.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use model::role::Caller;
use serde::Serialize;

use crate::clock::now_ms;

/// An append-only file of JSON lines.
#[derive(Debug)]
pub struct Audit {
    file: Mutex<File>,
}

#[derive(Serialize)]
struct Line<'a> {
    time_ms: i64,
    who: &'a str,
    role: String,
    did: &'a str,
    to: &'a str,
}

impl Audit {
    /// Opens the file, 0600, making it if there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Notes that `caller` did something to something. A line that can't be written is logged: the change has
    /// already been made and can't be taken back.
    pub fn note(&self, caller: &Caller, did: &str, to: &str) {
        let line = Line { time_ms: now_ms(), who: caller.name.as_str(), role: caller.role.to_string(), did, to };
        let written = serde_json::to_vec(&line).map_err(io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            self.append(&bytes)
        });
        if let Err(error) = written {
            tracing::error!(%caller, did, to, %error, "the audit log can't be written");
        }
    }

    /// A whole line or nothing: a full disk may have taken half of it.
    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = file.metadata()?.len();
        file.write_all(line).inspect_err(|_| {
            if let Err(error) = file.set_len(before) {
                tracing::error!(%error, "the audit log can't be cut back to its last whole line");
            }
        })
    }
}
