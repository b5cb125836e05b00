//! The 512-byte header block: what fits into it goes there, what does not becomes a PAX record.

use tar::{EntryType, Header};

use super::pax::Records;
use crate::entry::{Attributes, DeviceNumber, Stamp};

const LARGEST_ID: u32 = 0o777_7777;
const LARGEST_SIZE: u64 = 0o777_7777_7777;

/// One member before it is written.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: EntryType,
    pub(super) attributes: Attributes,
    /// Bytes that follow the header.
    pub(super) size: u64,
    pub(super) link: &'a [u8],
    pub(super) device: Option<DeviceNumber>,
}

impl Draft<'_> {
    /// The header block; adds records for what it can not hold.
    pub(super) fn block(&self, records: &mut Records) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(self.kind);
        header.set_mode(self.attributes.mode);
        header.set_uid(u64::from(fit_id(self.attributes.uid, "uid", records)));
        header.set_gid(u64::from(fit_id(self.attributes.gid, "gid", records)));
        header.set_size(if self.size <= LARGEST_SIZE { self.size } else { 0 });
        if self.size > LARGEST_SIZE {
            records.push("size", self.size.to_string().as_bytes());
        }
        header.set_mtime(fit_mtime(self.attributes.mtime, records));
        if let Some(device) = self.device {
            let ustar = header.as_ustar_mut().expect("the header was made as ustar");
            ustar.set_device_major(device.major);
            ustar.set_device_minor(device.minor);
        }
        let old = header.as_old_mut();
        fit_name(&mut old.name, self.name, "path", records);
        fit_name(&mut old.linkname, self.link, "linkpath", records);
        header.set_cksum();
        header
    }
}

fn fit_id(id: u32, key: &str, records: &mut Records) -> u32 {
    if id <= LARGEST_ID {
        return id;
    }
    records.push(key, id.to_string().as_bytes());
    0
}

fn fit_mtime(Stamp(seconds, nanos): Stamp, records: &mut Records) -> u64 {
    let whole = u64::try_from(seconds).ok().filter(|seconds| *seconds <= LARGEST_SIZE);
    if nanos != 0 || whole.is_none() {
        records.push("mtime", pax_time(Stamp(seconds, nanos)).as_bytes());
    }
    whole.unwrap_or(0)
}

/// Decimal seconds; before 1970 the fraction counts away from zero, as in any decimal number.
fn pax_time(Stamp(seconds, nanos): Stamp) -> String {
    match (seconds < 0, nanos) {
        (_, 0) => seconds.to_string(),
        (false, _) => format!("{seconds}.{nanos:09}"),
        (true, _) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
    }
}

fn fit_name(field: &mut [u8; 100], name: &[u8], key: &str, records: &mut Records) {
    let take = name.len().min(field.len());
    field[..take].copy_from_slice(&name[..take]);
    if name.len() > field.len() {
        records.push(key, name);
    }
}

/// What [`pax_time`] wrote, or another tar with fewer or more digits.
pub(super) fn parse_pax_time(text: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    Some(match (negative, nanos) {
        (false, _) => Stamp(seconds, nanos),
        (true, 0) => Stamp(-seconds, 0),
        (true, _) => Stamp(-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_on_both_sides_of_1970_come_back() {
        for (stamp, text) in [
            (Stamp(0, 0), "0"),
            (Stamp(1_700_000_000, 1), "1700000000.000000001"),
            (Stamp(-1, 0), "-1"),
            (Stamp(-2, 500_000_000), "-1.500000000"),
            (Stamp(-1, 900_000_000), "-0.100000000"),
        ] {
            assert_eq!(pax_time(stamp), text);
            assert_eq!(parse_pax_time(text.as_bytes()), Some(stamp), "{text}");
        }
        assert_eq!(parse_pax_time(b"5.25"), Some(Stamp(5, 250_000_000)));
        for bad in ["", "x", "1.-5", "+3", "--1"] {
            assert_eq!(parse_pax_time(bad.as_bytes()), None, "{bad}");
        }
    }
}
