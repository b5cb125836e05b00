//! What the agent mounts itself to see the install root, and how.
//!
//! `mount` and its NFS helper do it, in a namespace of ours: nothing else of the node sees it, and it ends with the
//! namespace.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sys::exec::{Cmd, CmdError};

/// Options where nobody says others. `vers=4.1`: with 4.2 some servers return wrong data. `soft` with `timeo` and
/// `retrans`: by nfs(5) a server that is away for less than three minutes is waited for, after that reads and writes fail and
/// the build with them; a hard mount would hang, its processes and its end as well. What a soft mount may lose is seen, as
/// every archive is synced and its digest compared.
pub const OPTIONS: &str = "vers=4.1,soft,timeo=300,retrans=5,nosuid,nodev,noatime";

/// Something to mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// `mn:/install`.
    pub source: String,
    /// Mount options, as `mount -o` takes them.
    pub options: String,
}

impl Export {
    /// Of a source, with [`OPTIONS`] where none are said; `None` for an empty source.
    pub fn of(source: &str, options: &str) -> Option<Self> {
        let options = if options.is_empty() { OPTIONS } else { options };
        (!source.is_empty()).then(|| Self { source: source.to_owned(), options: options.to_owned() })
    }

    /// Mounts it at `point`, in this process's namespace. Blocks for as long as the server does; one try.
    pub fn mount(&self, point: &Path) -> Result<(), CmdError> {
        // Ours comes last and wins: who waits for the mount can't wait for two minutes of tries.
        let options = format!("{},retry=0", self.options);
        Cmd::new("mount").args(["-t", "nfs", "-o", &options, "--", &self.source]).arg(point).capture().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_source_is_none_and_options_have_a_default() {
        assert_eq!(Export::of("", "ro"), None);
        assert_eq!(Export::of("mn:/install", "").unwrap().options, OPTIONS);
        assert_eq!(Export::of("mn:/install", "ro,vers=4.1").unwrap().options, "ro,vers=4.1");
        assert!(OPTIONS.contains("vers=4.1"));
    }

    #[test]
    fn what_can_not_be_mounted_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let export = Export::of("127.0.0.1:/nowhere", "").unwrap();
        let error = export.mount(folder.path()).unwrap_err();
        assert!(!error.lines().is_empty() || matches!(error, CmdError::Start { .. }), "{error}");
    }
}
