//! PAX extended headers: `length key=value\n` records, taken by length so that values may hold anything.

use thiserror::Error;

/// Prefix under which GNU tar, star and bsdtar keep xattrs.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records of one member, in order.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<u8>);

impl Records {
    /// Adds one record.
    pub(super) fn push(&mut self, key: impl AsRef<[u8]>, value: &[u8]) {
        let key = key.as_ref();
        let bare = key.len() + value.len() + 3;
        // The length counts its own digits.
        let mut length = bare + decimal_digits(bare);
        length = bare + decimal_digits(length);
        self.0.extend_from_slice(length.to_string().as_bytes());
        self.0.push(b' ');
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// Adds an xattr. As in GNU tar, `%` and `=` in its name are written `%25` and `%3D`.
    pub(super) fn push_xattr(&mut self, name: &[u8], value: &[u8]) {
        let mut key = XATTR.to_vec();
        for byte in name {
            match byte {
                b'%' => key.extend_from_slice(b"%25"),
                b'=' => key.extend_from_slice(b"%3D"),
                byte => key.push(*byte),
            }
        }
        self.push(key, value);
    }

    /// The bytes of the extended header, empty if none is needed.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// An extended header that is not made of records.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("extended header is broken at byte {0}")]
pub(super) struct BrokenRecord(usize);

/// One record's key and value.
pub(super) type KeyValue<'a> = (&'a [u8], &'a [u8]);

/// Splits an extended header into keys and values.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<KeyValue<'_>>, BrokenRecord> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let record = take_record(&bytes[at..]).ok_or(BrokenRecord(at))?;
        records.push((record.key, record.value));
        at += record.length;
    }
    Ok(records)
}

struct Record<'a> {
    length: usize,
    key: &'a [u8],
    value: &'a [u8],
}

fn take_record(bytes: &[u8]) -> Option<Record<'_>> {
    let blank = bytes.iter().take(12).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let record = bytes.get(blank + 1..length)?;
    let (b'\n', record) = record.split_last()? else {
        return None;
    };
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(Record { length, key: &record[..equals], value: &record[equals + 1..] })
}

/// The xattr name in a record's key, if it is one.
pub(super) fn xattr_name(key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = key.strip_prefix(XATTR)?;
    let mut name = Vec::with_capacity(rest.len());
    while let Some((byte, tail)) = rest.split_first() {
        (rest, _) = match rest {
            [b'%', b'2', b'5', after @ ..] => (after, name.push(b'%')),
            [b'%', b'3', b'D' | b'd', after @ ..] => (after, name.push(b'=')),
            _ => (tail, name.push(*byte)),
        };
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_length_counts_itself() {
        let mut records = Records::default();
        records.push("path", b"x");
        assert_eq!(records.as_bytes(), b"9 path=x\n");
        let mut records = Records::default();
        records.push("path", &[b'x'; 91]);
        assert!(records.as_bytes().starts_with(b"101 path=xx"));
        assert_eq!(records.as_bytes().len(), 101);
    }

    #[test]
    fn broken_headers_are_refused() {
        for bad in [&b"5"[..], b"99 a=b\n", b"7 ab=\n", b"0 a=b\n", b"6 a=bc", b"-6 a=b\n", b"5 ab\n", b"1 a=b\n"] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    proptest! {
        #[test]
        fn any_value_and_xattr_name_come_back(value: Vec<u8>, name in "[ -~]{1,40}") {
            let mut records = Records::default();
            records.push("path", &value);
            records.push_xattr(name.as_bytes(), &value);
            let parsed = parse(records.as_bytes()).unwrap();
            prop_assert_eq!(parsed[0], (&b"path"[..], &value[..]));
            prop_assert_eq!(xattr_name(parsed[1].0).unwrap(), name.as_bytes());
            prop_assert_eq!(parsed[1].1, &value[..]);
        }

        #[test]
        fn no_header_makes_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
