//! What extended headers say about the member after them.

use std::str;

use super::block::parse_pax_time;
use super::pax;
use crate::entry::{Stamp, Xattr};

/// What extended headers say about the member after them.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Stamp>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: Option<SparseFile>,
}

#[derive(Debug, Default)]
pub(super) struct SparseFile {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
}

impl Extended {
    /// Takes the records of one extended header.
    pub(super) fn apply(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let records = pax::parse(bytes).map_err(|_| "an extended header has a broken record")?;
        records.into_iter().try_for_each(|(key, value)| self.record(key, value))
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            b"mtime" => self.mtime = Some(parse_pax_time(value).ok_or("a time is no number")?),
            b"GNU.sparse.major" => self.sparse().major = Some(number(value)?),
            b"GNU.sparse.minor" => self.sparse().minor = Some(number(value)?),
            b"GNU.sparse.realsize" => self.sparse().size = Some(number(value)?),
            b"GNU.sparse.name" => self.sparse().name = Some(value.to_vec()),
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err("a sparse file is not in format 1.0");
            }
            // Access times, user names and comments are no part of an image.
            _ => {
                let xattr = |name| Xattr { name, value: value.to_vec() };
                self.xattrs.extend(pax::xattr_name(key).map(xattr));
            }
        }
        Ok(())
    }

    fn sparse(&mut self) -> &mut SparseFile {
        self.sparse.get_or_insert_default()
    }
}

fn number<N: str::FromStr>(value: &[u8]) -> Result<N, &'static str> {
    let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or("a record is no number")
}
