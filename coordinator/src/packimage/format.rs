//! [`Format`]: the archive methods and compressions that can be asked for, by xCAT's names.

use rootfs::compress::{Compression, ZstdLevel};
use rootfs::gzip::GzipLevel;
use rootfs::pack::{PackMethod, archive_name};

/// Method names that are taken.
const METHODS: [&str; 1] = ["cpio"];
/// Compression names that are taken; pigz writes gzip, as ours does.
const COMPRESSIONS: [&str; 3] = ["gzip", "pigz", "zstd"];

/// How an archive is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Format {
    /// What the archive is.
    pub method: PackMethod,
    /// How it is compressed.
    pub compression: Compression,
}

/// A name that nothing is known by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// `--method`
    #[error("Invalid archive method '{0}' requested; known: {known}", known = METHODS.join(", "))]
    Method(String),
    /// `--compress`
    #[error("Invalid compress method '{0}' requested; known: {known}", known = COMPRESSIONS.join(", "))]
    Compress(String),
}

impl Format {
    /// Reads the names; empty ones mean cpio and gzip.
    pub fn parse(method: &str, compress: &str) -> Result<Format, FormatError> {
        let method = match method {
            "" | "cpio" => PackMethod::Cpio,
            other => return Err(FormatError::Method(other.to_owned())),
        };
        let compression = match compress {
            "" | "gzip" | "pigz" => Compression::Gzip(GzipLevel::default()),
            "zstd" => Compression::Zstd(ZstdLevel::default()),
            other => return Err(FormatError::Compress(other.to_owned())),
        };
        Ok(Format { method, compression })
    }

    /// The file's name, which boot servers look for.
    pub fn archive_name(self) -> String {
        archive_name(self.method, self.compression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::layout::ARCHIVES;

    #[test]
    fn every_known_pair_has_a_name_that_is_served() {
        for method in METHODS {
            for compress in COMPRESSIONS {
                let name = Format::parse(method, compress).unwrap().archive_name();
                assert!(ARCHIVES.contains(&name.as_str()), "{name}");
            }
        }
        assert_eq!(Format::parse("", "").unwrap().archive_name(), "rootimg.cpio.gz");
    }

    #[test]
    fn an_unknown_name_is_refused_in_xcats_words_with_the_known_ones() {
        let error = Format::parse("zoo", "").unwrap_err().to_string();
        assert_eq!(error, "Invalid archive method 'zoo' requested; known: cpio");
        let error = Format::parse("cpio", "rar").unwrap_err().to_string();
        assert_eq!(error, "Invalid compress method 'rar' requested; known: gzip, pigz, zstd");
    }
}
