//! How an archive is compressed: gzip for what boot loaders and old kernels read, zstd for transfer.
//!
//! xz takes its place here when it is wanted: a variant, an encoder, a file extension.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use crate::gzip::{GzipLevel, GzipWriter};

/// Large enough for zstd to find repetitions between neighbouring files, independent of the number of cores, on
/// which the output must not depend.
const ZSTD_JOB: u32 = 4 * 1024 * 1024;
/// Refuse frames that want more memory than this to unpack: 2^27 = 128 MiB, what `zstd -d` allows by itself.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A compression and its strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// One gzip member; every kernel and boot loader reads it.
    Gzip(GzipLevel),
    /// One zstd frame with checksum; kernels from 5.9 read it.
    Zstd(ZstdLevel),
    /// As it is.
    None,
}

/// How hard zstd tries, 1 to 19.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZstdLevel(i32);

impl ZstdLevel {
    /// A level of 1 to 19; others are brought to the nearest.
    pub fn new(level: i32) -> ZstdLevel {
        ZstdLevel(level.clamp(1, 19))
    }
}

impl Default for ZstdLevel {
    /// 3, as zstd's: beats every gzip in speed and size.
    fn default() -> Self {
        ZstdLevel(3)
    }
}

impl Default for Compression {
    fn default() -> Self {
        Compression::Gzip(GzipLevel::default())
    }
}

impl Compression {
    /// What the file's name ends with, with the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Compression::Gzip(_) => ".gz",
            Compression::Zstd(_) => ".zst",
            Compression::None => "",
        }
    }
}

/// A writer that compresses on several cores; complete only after [`Compressor::finish`].
pub struct Compressor<W: Write>(Inner<W>);

enum Inner<W: Write> {
    Gzip(GzipWriter<W>),
    Zstd(zstd::Encoder<'static, W>),
    None(W),
}

impl<W: Write> Compressor<W> {
    /// Begins a compressed stream into `out`. The bytes depend on `compression` only, not on `threads`.
    pub fn new(out: W, compression: Compression, threads: NonZeroUsize) -> io::Result<Self> {
        Ok(Compressor(match compression {
            Compression::Gzip(level) => Inner::Gzip(GzipWriter::new(out, level, threads)?),
            Compression::Zstd(level) => Inner::Zstd(zstd_encoder(out, level, threads)?),
            Compression::None => Inner::None(out),
        }))
    }

    /// Ends the stream and gives back the writer below.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::Gzip(writer) => writer.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
            Inner::None(out) => Ok(out),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Gzip(writer) => writer.write(bytes),
            Inner::Zstd(encoder) => encoder.write(bytes),
            Inner::None(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            // A flush in the middle would make the bytes depend on the caller.
            Inner::Gzip(_) | Inner::Zstd(_) => Ok(()),
            Inner::None(out) => out.flush(),
        }
    }
}

impl<W: Write> std::fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Gzip(_) => "Compressor(gzip)",
            Inner::Zstd(_) => "Compressor(zstd)",
            Inner::None(_) => "Compressor(none)",
        })
    }
}

fn zstd_encoder<W: Write>(out: W, level: ZstdLevel, threads: NonZeroUsize) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(out, level.0)?;
    encoder.include_checksum(true)?;
    encoder.multithread(u32::try_from(threads.get()).unwrap_or(u32::MAX))?;
    encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(ZSTD_JOB))?;
    Ok(encoder)
}

/// Reads a zstd stream, verifying its checksum; one that was cut short is an error.
pub fn zstd_reader(input: impl Read) -> io::Result<impl Read> {
    let mut decoder = zstd::Decoder::new(input)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(compression: Compression, threads: usize, data: &[u8]) -> Vec<u8> {
        let mut writer = Compressor::new(Vec::new(), compression, NonZeroUsize::new(threads).unwrap()).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn some_data() -> Vec<u8> {
        (0..9_000_000u32).map(|n| (n.wrapping_mul(n >> 7) >> 11) as u8 & 0x3f).collect()
    }

    #[test]
    fn zstd_comes_back_and_does_not_depend_on_threads() {
        let data = some_data();
        let one = compressed(Compression::Zstd(ZstdLevel::default()), 1, &data);
        assert_eq!(one, compressed(Compression::Zstd(ZstdLevel::default()), 3, &data));
        let mut back = Vec::new();
        zstd_reader(&one[..]).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == data);
    }

    #[test]
    fn a_cut_or_damaged_zstd_stream_is_an_error() {
        let good = compressed(Compression::Zstd(ZstdLevel::default()), 1, &some_data());
        let mut damaged = good.clone();
        damaged[good.len() / 2] ^= 4;
        for bad in [&good[..good.len() - 1], &good[..good.len() / 2], &damaged[..]] {
            let read = zstd_reader(bad).and_then(|mut reader| reader.read_to_end(&mut Vec::new()));
            assert!(read.is_err());
        }
    }

    #[test]
    fn uncompressed_is_untouched() {
        assert_eq!(compressed(Compression::None, 1, b"abc"), b"abc");
    }
}
