//! One index file: its bytes held against the checksum that stands elsewhere, then unpacked, both below limits.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256, Sha512};

use super::super::files::{read_regular, reason};
use super::weight::{TooMuch, Weight};
use super::xml::XmlError;

/// What leads to the indexes, `repomd.xml` or `Release`; that of Ubuntu has 300 KB.
const MAX_TOP: u64 = 8 << 20;
/// An index as it lies on disk, packed or not; Fedora's largest has 30 MB packed and 250 MB unpacked.
const MAX_PACKED: u64 = 256 << 20;
/// An unpacked index; Fedora's largest has 250 MB.
const MAX_UNPACKED: u64 = 768 << 20;
/// What a decompressor may take; what `xz -9` and `zstd --long=27` ask for fits.
const MAX_WINDOW: u64 = 160 << 20;

/// What is wrong with an index, without its name.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("cannot be read: {}", reason(.0))]
    Read(io::Error),
    #[error("is not what the repository's index says; its checksum differs")]
    Checksum,
    #[error("cannot be understood")]
    Xml(#[from] XmlError),
    #[error("cannot be understood: {0}")]
    Content(String),
    #[error("cannot be read")]
    TooMuch(#[from] TooMuch),
}

/// The checksum of an index.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Checksum {
    /// None is given, or one that is no longer trusted anywhere.
    #[default]
    None,
    Sha256(String),
    Sha512(String),
}

impl Checksum {
    /// By its name in repomd.xml.
    pub(super) fn named(kind: &str, hex: &str) -> Self {
        match kind {
            "sha256" => Self::Sha256(hex.to_ascii_lowercase()),
            "sha512" => Self::Sha512(hex.to_ascii_lowercase()),
            _ => Self::None,
        }
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        match self {
            Self::None => true,
            Self::Sha256(expected) => hex::encode(Sha256::digest(bytes)) == *expected,
            Self::Sha512(expected) => hex::encode(Sha512::digest(bytes)) == *expected,
        }
    }
}

/// How an index is packed, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

impl Packing {
    /// `None` for what isn't read here (bzip2, lz4).
    pub(super) fn of(name: &str) -> Option<Self> {
        let end = name.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, end)| end);
        match end {
            "gz" => Some(Self::Gzip),
            "xz" => Some(Self::Xz),
            "zst" => Some(Self::Zstd),
            "bz2" | "lz4" | "lzma" | "zck" => None,
            _ => Some(Self::Plain),
        }
    }
}

/// The bytes of what leads to the indexes.
pub(super) fn top(path: &Path) -> Result<Vec<u8>, Damage> {
    read_regular(path, MAX_TOP).map_err(Damage::Read)
}

/// The bytes of an index as they lie on disk, if they are the right ones; they are weighed before they are read.
pub(super) fn bytes(path: &Path, checksum: &Checksum, weight: &mut Weight) -> Result<Vec<u8>, Damage> {
    let len = path.metadata().map_err(Damage::Read)?.len().min(MAX_PACKED);
    weight.hold(usize::try_from(len).unwrap_or(usize::MAX))?;
    let bytes = read_regular(path, len).map_err(Damage::Read)?;
    if checksum.holds(&bytes) { Ok(bytes) } else { Err(Damage::Checksum) }
}

/// What the bytes hold, as a stream; it ends in an error if there is more than a repository can have.
pub(super) fn unpacked(packing: Packing, bytes: &[u8]) -> Result<Box<dyn BufRead + '_>, Damage> {
    let stream: Box<dyn Read + '_> = match packing {
        Packing::Plain => Box::new(bytes),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
        Packing::Xz => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(MAX_WINDOW, flags);
            let stream = stream.map_err(|error| Damage::Read(error.into()))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(bytes, stream))
        }
        Packing::Zstd => {
            let mut stream = zstd::Decoder::with_buffer(bytes).map_err(Damage::Read)?;
            stream.window_log_max(MAX_WINDOW.ilog2()).map_err(Damage::Read)?;
            Box::new(stream)
        }
    };
    Ok(Box::new(BufReader::with_capacity(64 << 10, Bounded { stream, left: MAX_UNPACKED })))
}

/// A stream that may not be longer than it says.
struct Bounded<R> {
    stream: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(into)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(format!("it unpacks to more than {} MiB", MAX_UNPACKED >> 20)))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn all(packing: Packing, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        unpacked(packing, bytes).map_err(|error| io::Error::other(error.to_string()))?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn what_is_packed_comes_out_again_and_what_is_torn_does_not() {
        let text = "name ".repeat(5_000).into_bytes();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&text).unwrap();
        let table = [
            ("a.gz", gzip.finish().unwrap()),
            ("a.xz", xz.finish().unwrap()),
            ("a.zst", zstd::encode_all(text.as_slice(), 1).unwrap()),
        ];
        for (name, packed) in table {
            let packing = Packing::of(name).unwrap();
            assert_eq!(all(packing, &packed).unwrap(), text, "{name}");
            assert!(all(packing, &packed[..packed.len() / 2]).is_err(), "{name}");
            assert!(all(packing, b"something else").is_err(), "{name}");
        }
        assert_eq!(all(Packing::of("repodata/primary.xml").unwrap(), &text).unwrap(), text);
        assert_eq!(Packing::of("a/Packages.bz2"), None);
    }

    #[test]
    fn a_checksum_holds_or_is_not_known() {
        let sum = hex::encode(Sha256::digest(b"x")).to_ascii_uppercase();
        for (kind, hex, expected) in
            [("sha256", sum.as_str(), true), ("sha256", "00", false), ("sha512", &sum, false), ("sha", "00", true)]
        {
            assert_eq!(Checksum::named(kind, hex).holds(b"x"), expected, "{kind} {hex}");
        }
    }

    #[test]
    fn a_stream_that_does_not_end_is_cut() {
        let mut endless = Bounded { stream: io::repeat(b'a'), left: 10 };
        assert!(io::copy(&mut endless, &mut io::sink()).unwrap_err().to_string().contains("unpacks to more"));
    }
}
