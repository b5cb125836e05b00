//! [`Verdict`]: what the unpacking child tells its parent, as one line of JSON, the last it prints.

use rootfs::digest::Digest;
use rootfs::tar::TarReadError;
use rootfs::unpack::UnpackError;
use serde::{Deserialize, Serialize};

/// No message has more characters: names in an archive may, and the pipe to the parent must not fill up.
const LONGEST_MESSAGE: usize = 4000;

/// How unpacking ended, with what was read of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Of all bytes to the end of the input; none if they could not be read.
    pub(crate) digest: Option<Digest>,
    /// Their number.
    pub(crate) read: u64,
    /// What came of it.
    pub(crate) outcome: Outcome,
}

/// What came of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It is unpacked and the manifest of its tree is written.
    Unpacked {
        /// Length of the tree's files; hard links count once.
        tree_bytes: u64,
        /// Entries of the tree.
        tree_entries: u64,
    },
    /// It is not.
    Refused {
        /// Whose fault.
        why: Why,
        /// The error with its chain.
        message: String,
    },
}

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    /// A member would leave the folder, replace something, or is too large.
    Escape,
    /// It ends before its end.
    Truncated,
    /// It is damaged, or something else altogether.
    NotAnArchive,
    /// No room.
    DiskFull,
    /// Anything else.
    System,
}

impl Outcome {
    /// A refusal in the words of `error`.
    pub(crate) fn refused(why: Why, error: &dyn std::error::Error) -> Outcome {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(below) = source {
            message.push_str(": ");
            message.push_str(&below.to_string());
            source = below.source();
        }
        if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Outcome::Refused { why, message }
    }
}

/// Sorts an unpacker's error.
pub(crate) fn judge(error: &UnpackError) -> Why {
    match error {
        UnpackError::NotInFolder { .. }
        | UnpackError::Duplicate { .. }
        | UnpackError::LinkTarget { .. }
        | UnpackError::TooLarge { .. }
        | UnpackError::Archive(TarReadError::Name(_)) => Why::Escape,
        UnpackError::Archive(TarReadError::Stream { source, .. })
            if source.kind() == std::io::ErrorKind::UnexpectedEof =>
        {
            Why::Truncated
        }
        UnpackError::Archive(_) => Why::NotAnArchive,
        UnpackError::Failed { source, .. } | UnpackError::Destination { source, .. } => judge_io(source),
    }
}

/// Sorts a system's error.
pub(crate) fn judge_io(error: &std::io::Error) -> Why {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => Why::DiskFull,
        _ => Why::System,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_one_line_and_reads_back() {
        let error = std::io::Error::other(format!("two\nlines{}", "ä".repeat(5000)));
        for outcome in [Outcome::Unpacked { tree_bytes: 7, tree_entries: 2 }, Outcome::refused(Why::DiskFull, &error)] {
            let verdict = Verdict { digest: Some(Digest::of(b"x")), read: 3, outcome };
            let line = serde_json::to_string(&verdict).unwrap();
            assert!(!line.contains('\n') && line.len() < 32768);
            assert_eq!(serde_json::from_str::<Verdict>(&line).unwrap(), verdict);
        }
    }
}
