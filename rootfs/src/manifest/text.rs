//! How a manifest's fields look in JSON: names escaped, modes octal, xattr values hexadecimal.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serializer, de};

use crate::entry::Xattr;
use crate::escape::{Blanks, escape, unescape};

pub(super) fn octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}

pub(super) fn from_octal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    u32::from_str_radix(&String::deserialize(deserializer)?, 8).map_err(de::Error::custom)
}

pub(super) fn escaped<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&escape(bytes, Blanks::Keep))
}

pub(super) fn from_escaped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    unescape(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

pub(super) fn hexed<S: Serializer>(xattrs: &[Xattr], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(xattrs.iter().map(|xattr| (escape(&xattr.name, Blanks::Keep), hex::encode(&xattr.value))))
}

pub(super) fn from_hexed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Xattr>, D::Error> {
    let map = BTreeMap::<String, String>::deserialize(deserializer)?;
    let mut xattrs = Vec::with_capacity(map.len());
    for (name, value) in map {
        let name = unescape(&name).map_err(de::Error::custom)?;
        xattrs.push(Xattr { name, value: hex::decode(value).map_err(de::Error::custom)? });
    }
    xattrs.sort();
    Ok(xattrs)
}
