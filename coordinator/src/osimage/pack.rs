//! What packimage needs of an osimage, and the two choices that its command line adds (XCAT.md 7).

use std::fmt;
use std::str::FromStr;

use model::exlist::Rule;
use model::synclist::{CopyLine, NodeLine};
use serde::{Deserialize, Serialize};

/// What the resolver hands to packimage: read on the management node, never sent to an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackPlan {
    /// What the archive leaves out, the built-in patterns last.
    pub excludes: Vec<Rule>,
    /// What it takes all the same.
    pub includes: Vec<Rule>,
    /// What is copied into the archive, in order.
    pub copies: Vec<CopyLine>,
    /// Lines of synclists that take effect only on a node.
    pub on_node: Vec<NodeLine>,
    /// The archive's format; the caller overrides it.
    pub method: Method,
    /// The archive's compression; the caller overrides it.
    pub compress: Compress,
}

/// The format of the archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// cpio newc.
    #[default]
    Cpio,
    /// pax tar.
    Tar,
}

/// The compression of the archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// gzip, on all cores; xCAT's `gzip` and `pigz` alike.
    #[default]
    Gzip,
    /// zstd.
    Zstd,
}

/// A choice that packimage doesn't have; the texts begin as xCAT's (XCAT.md 7.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPackOption {
    /// Not a format.
    #[error("Invalid archive method '{0}' requested; cpio and tar are made")]
    Method(String),
    /// Not a compression.
    #[error("Invalid compress method '{0}' requested; gzip (or pigz) and zstd are made")]
    Compress(String),
}

impl FromStr for Method {
    type Err = InvalidPackOption;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "cpio" => Ok(Self::Cpio),
            "tar" => Ok(Self::Tar),
            _ => Err(InvalidPackOption::Method(text.to_owned())),
        }
    }
}

impl FromStr for Compress {
    type Err = InvalidPackOption;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "gzip" | "pigz" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(InvalidPackOption::Compress(text.to_owned())),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpio => "cpio",
            Self::Tar => "tar",
        })
    }
}

impl fmt::Display for Compress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_as_xcat_names_them() {
        assert_eq!(("pigz".parse(), "tar".parse()), (Ok(Compress::Gzip), Ok(Method::Tar)));
        assert_eq!("zip".parse::<Compress>(), Err(InvalidPackOption::Compress("zip".into())));
        assert!(
            "squashfs"
                .parse::<Method>()
                .unwrap_err()
                .to_string()
                .starts_with("Invalid archive method 'squashfs' requested")
        );
    }
}
