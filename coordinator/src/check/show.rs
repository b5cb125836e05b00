//! A report as people read it.

use std::fmt;

use super::finding::counted;
use super::{Area, Finding, Report, Severity};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { severity, area, place, what, next } in &self.findings {
            writeln!(f, "{:<9} {:<13} {place}: {what}", severity.to_string(), area.to_string())?;
            if !next.is_empty() {
                writeln!(f, "{:<23} -> {next}", "")?;
            }
        }
        let count = |severity| self.count(severity);
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
        write!(f, "{errors}, {warnings}, {} repaired", count(Severity::Repaired))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Repaired => "repaired",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Certificates => "certificates",
            Self::Store => "store",
            Self::Plans => "plans",
            Self::Logs => "logs",
            Self::Staging => "staging",
            Self::Generations => "generations",
            Self::Artefacts => "artefacts",
            Self::Links => "links",
        })
    }
}
