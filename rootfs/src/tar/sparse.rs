//! Sparse files in PAX format 1.0: the content begins with a map, one number a line, of where the rest belongs.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::read::{TarReadError, TarReader};
use super::{BLOCK, padding};
use crate::entry::Entry;

/// Extents of one sparse file: enough for a data block beside each hole in 8 GiB.
const LARGEST_MAP: usize = 1 << 20;

/// A run of stored bytes and where in the file it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The parts of a file that are not holes, in whole blocks; `None` if the file system does not tell.
pub(super) fn data_extents(file: &File, size: u64) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    let block = BLOCK as u64;
    let mut extents: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(file.as_fd(), SeekFrom::Data(at)) {
            Ok(data) => data / block * block,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error),
        };
        let hole = rustix::fs::seek(file.as_fd(), SeekFrom::Hole(data.max(at)))?;
        let end = hole.next_multiple_of(block).min(size);
        match extents.last_mut() {
            Some((start, length)) if *start + *length >= data => *length = end - *start,
            _ => extents.push((data, end - data)),
        }
        at = end.max(at + 1);
    }
    if extents == [(0, size)] {
        rustix::fs::seek(file.as_fd(), SeekFrom::Start(0))?;
        return Ok(None);
    }
    Ok(Some(extents))
}

/// The map before the data: a count, then offset and length of each extent, one number a line, padded. A hole at
/// the end is told by an empty extent there.
pub(super) fn write_map(extents: &[(u64, u64)], size: u64) -> Vec<u8> {
    let ends_in_hole = extents.last().is_none_or(|(offset, length)| offset + length < size);
    let closing = ends_in_hole.then_some((size, 0));
    let mut map = format!("{}\n", extents.len() + usize::from(ends_in_hole));
    for (offset, length) in extents.iter().copied().chain(closing) {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = map.into_bytes();
    map.resize(map.len() + padding(map.len() as u64), 0);
    map
}

/// What a tar that knows no sparse files would call the stored bytes.
pub(super) fn stand_in_name(entry: &Entry) -> Vec<u8> {
    let (parent, name) = entry.path.split().expect("a file is never the root");
    let folder = if parent.is_root() { b"." } else { parent.as_bytes() };
    let mut stand_in = [folder, b"/GNUSparseFile.0/", name].concat();
    stand_in.truncate(100);
    stand_in
}

/// Reads the map: decimal lines, in whole blocks.
pub(super) fn read_map<R: Read>(reader: &mut TarReader<R>, size: u64) -> Result<Vec<Extent>, TarReadError> {
    let mut lines = MapLines { block: [0; BLOCK], at: BLOCK };
    let count = lines.number(reader)?;
    if count > LARGEST_MAP as u64 {
        return Err(reader.damaged("a sparse file has too many extents"));
    }
    let mut extents: Vec<Extent> = Vec::new();
    let mut end = 0;
    let mut whole_blocks = true;
    for _ in 0..count {
        let extent = Extent { offset: lines.number(reader)?, length: lines.number(reader)? };
        let after = extent.offset.checked_add(extent.length).filter(|after| *after <= size);
        let Some(after) = after.filter(|_| extent.offset >= end) else {
            return Err(reader.damaged("a sparse file's map is out of order"));
        };
        end = after;
        if extent.length > 0 {
            // Writers that pad each extent and writers that do not agree only on whole blocks.
            if !whole_blocks {
                return Err(reader.damaged("a sparse file's map is not in whole blocks"));
            }
            whole_blocks = extent.length.is_multiple_of(BLOCK as u64);
            extents.push(extent);
        }
    }
    Ok(extents)
}

/// The numbers of a sparse map; takes whole blocks from the member's content.
struct MapLines {
    block: [u8; BLOCK],
    at: usize,
}

impl MapLines {
    fn number<R: Read>(&mut self, reader: &mut TarReader<R>) -> Result<u64, TarReadError> {
        let mut number: Option<u64> = None;
        loop {
            if self.at == BLOCK {
                reader.content(&mut self.block)?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            let digit = match (byte, number) {
                (b'0'..=b'9', _) => u64::from(byte - b'0'),
                (b'\n', Some(number)) => return Ok(number),
                _ => return Err(reader.damaged("a sparse file's map is no number")),
            };
            number = number.unwrap_or(0).checked_mul(10).and_then(|number| number.checked_add(digit));
            if number.is_none() {
                return Err(reader.damaged("a sparse file's map is no number"));
            }
        }
    }
}
