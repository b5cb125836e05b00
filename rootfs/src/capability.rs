//! File capabilities in the words of `getcap(8)`: `cap_net_raw=ep`.

/// The xattr that holds them.
pub const XATTR: &[u8] = b"security.capability";

/// By bit number (linux/capability.h).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The value of the xattr in words; one of a form that isn't known in hexadecimal.
pub fn text(value: &[u8]) -> String {
    read(value).unwrap_or_else(|| value.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `struct vfs_cap_data` of revision 2, and 3, which adds the user namespace's root.
fn read(value: &[u8]) -> Option<String> {
    let (words, rest) = value.as_chunks::<4>();
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let (&magic, sets) = words.split_first()?;
    let root = match (magic >> 24, sets) {
        (2, [_, _, _, _]) => String::new(),
        (3, [_, _, _, _, root]) => format!(" [rootid={root}]"),
        _ => return None,
    };
    if !rest.is_empty() {
        return None;
    }
    let effective = magic & 1 == 1;
    let permitted = u64::from(sets[0]) | u64::from(sets[2]) << 32;
    let inheritable = u64::from(sets[1]) | u64::from(sets[3]) << 32;
    // Capabilities with the same flags stand together, in the order of their first.
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for bit in 0..64 {
        let (permitted, inheritable) = (permitted >> bit & 1 == 1, inheritable >> bit & 1 == 1);
        if !permitted && !inheritable {
            continue;
        }
        let flags: String = [(effective, 'e'), (inheritable, 'i'), (permitted, 'p')]
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, c)| c)
            .collect();
        let name = NAMES.get(bit as usize).map_or_else(|| bit.to_string(), |name| format!("cap_{name}"));
        match groups.iter_mut().find(|(known, _)| *known == flags) {
            Some((_, names)) => names.push(name),
            None => groups.push((flags, vec![name])),
        }
    }
    let groups: Vec<String> = groups.iter().map(|(flags, names)| format!("{}={flags}", names.join(","))).collect();
    Some(if groups.is_empty() { format!("={root}") } else { groups.join(" ") + &root })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(magic: u32, words: &[u32]) -> Vec<u8> {
        [magic].iter().chain(words).flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn capabilities_are_told_as_getcap_does() {
        let v2 = 0x0200_0000;
        for (value, expected) in [
            (value(v2 | 1, &[1 << 13, 0, 0, 0]), "cap_net_raw=ep"),
            (value(v2, &[1 << 12 | 1 << 13, 1 << 13, 0, 0]), "cap_net_admin=p cap_net_raw=ip"),
            (value(v2 | 1, &[0, 0, 1 << 6 | 1 << 7, 0]), "cap_perfmon,cap_bpf=ep"),
            (value(0x0300_0001, &[1 << 7, 0, 0, 0, 1000]), "cap_setuid=ep [rootid=1000]"),
            (value(v2, &[0, 0, 0, 0]), "="),
            (value(v2, &[0, 0, 1 << 31, 0]), "63=p"),
            (value(0x0100_0000, &[1, 0]), "000000010100000000000000"),
            (vec![1, 2], "0102"),
            (Vec::new(), ""),
        ] {
            assert_eq!(text(&value), expected);
        }
    }

    #[test]
    fn getcap_agrees() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ping");
        std::fs::write(&file, "").unwrap();
        for set in ["cap_net_raw=ep", "cap_chown,cap_setuid=ep", "cap_net_admin,cap_net_raw=eip"] {
            assert!(std::process::Command::new("setcap").arg(set).arg(&file).status().unwrap().success());
            let mut value = [0; 64];
            let length = rustix::fs::getxattr(&file, "security.capability", &mut value).unwrap();
            let told = std::process::Command::new("getcap").arg(&file).output().unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            assert_eq!(told.trim().split_once(' ').unwrap().1, text(&value[..length]));
        }
    }
}
