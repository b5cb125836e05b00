//! What was found: how bad, where, what, and what to do.

use std::error::Error;
use std::path::Path;

use serde::Serialize;

use crate::chain::chain;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing to do.
    Ok,
    /// It was put right.
    Repaired,
    /// Something to be done, with time.
    Warning,
    /// Something is lost, or will not work.
    Error,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is a word that users see")]
pub enum Area {
    State,
    Certificates,
    Store,
    Plans,
    Logs,
    Staging,
    Generations,
    Artefacts,
    Links,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Which part of the state.
    pub area: Area,
    /// Where: a path, or a key.
    pub place: String,
    /// What.
    pub what: String,
    /// What to do next; empty when there is nothing.
    pub next: String,
}

/// A number of things, in words.
pub(super) fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
    #[serde(skip)]
    repair: bool,
}

impl Report {
    pub(super) fn new(repair: bool) -> Self {
        Self { findings: Vec::new(), repair }
    }

    /// Whether something is left that needs a person.
    pub fn needs_somebody(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity >= Severity::Warning)
    }

    /// How many of a severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    pub(super) fn ok(&mut self, area: Area, place: &Path, what: impl Into<String>) {
        self.add(Severity::Ok, area, place, what, "");
    }

    pub(super) fn warning(&mut self, area: Area, place: &Path, what: impl Into<String>, next: &str) {
        self.add(Severity::Warning, area, place, what, next);
    }

    pub(super) fn error(&mut self, area: Area, place: &Path, what: impl Into<String>, next: &str) {
        self.add(Severity::Error, area, place, what, next);
    }

    pub(super) fn add(&mut self, severity: Severity, area: Area, place: &Path, what: impl Into<String>, next: &str) {
        let place = place.display().to_string();
        self.findings.push(Finding { severity, area, place, what: what.into(), next: next.to_owned() });
    }

    /// Something that can be put right without losing anything: done when that was asked for. `repair` says in the
    /// infinitive what it does.
    pub(super) fn repairable(
        &mut self,
        area: Area,
        place: &Path,
        what: impl Into<String>,
        repair: &str,
        fix: impl FnOnce() -> Result<(), Box<dyn Error>>,
    ) {
        if !self.repair {
            return self.warning(area, place, what, &format!("`--repair`, to {repair}"));
        }
        match fix() {
            Ok(()) => self.add(Severity::Repaired, area, place, format!("{} (done: {repair})", what.into()), ""),
            Err(error) => {
                let why = chain(error.as_ref());
                self.error(area, place, what, &format!("put right what kept us from it ({repair}): {why}"));
            }
        }
    }
}
