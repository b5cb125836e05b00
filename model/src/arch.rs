//! Machine architectures, matched whatever their spelling (DESIGN.md: ppc64le = ppc64el, x86_64 = amd64).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An architecture that images are built for. A definition's own spelling stays in paths; this is for matching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// `x86_64`, in Debian's words `amd64`.
    #[serde(rename = "x86_64")]
    X86_64,
    /// `ppc64le`, in Debian's words `ppc64el`.
    #[serde(rename = "ppc64le")]
    Ppc64le,
    /// `ppc64`, big endian.
    #[serde(rename = "ppc64")]
    Ppc64,
    /// `aarch64`, in Debian's words `arm64`.
    #[serde(rename = "aarch64")]
    Aarch64,
    /// `x86`, in Debian's words `i386`.
    #[serde(rename = "x86")]
    X86,
    /// `s390x`.
    #[serde(rename = "s390x")]
    S390x,
}

/// Not an architecture that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a known architecture; known are x86_64 (amd64), ppc64le (ppc64el), aarch64 (arm64), ppc64, x86 and s390x"
)]
pub struct UnknownArch(pub String);

impl Arch {
    /// The name that `uname -m` and xCAT use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Ppc64le => "ppc64le",
            Self::Ppc64 => "ppc64",
            Self::Aarch64 => "aarch64",
            Self::X86 => "x86",
            Self::S390x => "s390x",
        }
    }

    /// The name that dpkg and apt use.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Ppc64le => "ppc64el",
            Self::Ppc64 => "ppc64",
            Self::Aarch64 => "arm64",
            Self::X86 => "i386",
            Self::S390x => "s390x",
        }
    }
}

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "x86_64" | "amd64" => Self::X86_64,
            "ppc64le" | "ppc64el" => Self::Ppc64le,
            "ppc64" => Self::Ppc64,
            "aarch64" | "arm64" => Self::Aarch64,
            "x86" | "i386" | "i486" | "i586" | "i686" => Self::X86,
            "s390x" => Self::S390x,
            _ => return Err(UnknownArch(text.to_owned())),
        })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_kernel_spellings_are_one_architecture() {
        for (a, b) in [("ppc64le", "ppc64el"), ("x86_64", "amd64"), ("aarch64", "arm64")] {
            assert_eq!(a.parse::<Arch>(), b.parse::<Arch>());
        }
        assert!("powerpc".parse::<Arch>().is_err());
    }
}
