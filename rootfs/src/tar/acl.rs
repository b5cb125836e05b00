//! ACLs as text, beside the xattr that holds them: GNU tar restores ACLs from `SCHILY.acl.*` only.

/// The record's key for the xattr `name`, if that is an ACL.
pub(super) fn record_key(name: &[u8]) -> Option<&'static str> {
    match name {
        b"system.posix_acl_access" => Some("SCHILY.acl.access"),
        b"system.posix_acl_default" => Some("SCHILY.acl.default"),
        _ => None,
    }
}

/// The kernel's form as text with numeric ids, such as `user::rw-,user:1000:r--,…`; `None` for a version that is not
/// known.
pub(super) fn text(value: &[u8]) -> Option<String> {
    let entries = value.strip_prefix(&[2, 0, 0, 0])?;
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let lines: Option<Vec<String>> = entries.iter().map(entry).collect();
    Some(lines?.join(","))
}

fn entry(&[tag, tag_high, perm, _, id @ ..]: &[u8; 8]) -> Option<String> {
    let id = u32::from_le_bytes(id);
    let who = match u16::from_le_bytes([tag, tag_high]) {
        0x01 => "user:".to_owned(),
        0x02 => format!("user:{id}"),
        0x04 => "group:".to_owned(),
        0x08 => format!("group:{id}"),
        0x10 => "mask:".to_owned(),
        0x20 => "other:".to_owned(),
        _ => return None,
    };
    let flag = |bit: u8, letter: char| if perm & bit != 0 { letter } else { '-' };
    Some(format!("{who}:{}{}{}", flag(4, 'r'), flag(2, 'w'), flag(1, 'x')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_form_becomes_text() {
        let value = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x20\0\x01\0\xff\xff\xff\xff";
        assert_eq!(text(value).as_deref(), Some("user::rw-,user:1000:r--,other::--x"));
        for bad in [&b""[..], b"\x03\0\0\0", b"\x02\0\0\0\x01", b"\x02\0\0\0\x40\0\0\0\0\0\0\0"] {
            assert_eq!(text(bad), None);
        }
    }
}
