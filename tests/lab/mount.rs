//! What a node's kernel says of the mount of the install root that its agent has.

use std::time::Duration;

use super::node::Node;

/// How long the guest may take to say it.
const SHORT: Duration = Duration::from_secs(300);

/// One mount by the kernel's NFS client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `rw,vers=4.1,…`
    pub options: String,
    /// Bytes that it has sent to the server as contents of files.
    pub written: u64,
}

impl Node {
    /// The mount of the install root that the agent sees, in whatever namespace; `None` where there is none by NFS.
    pub fn mount(&self) -> Option<Mount> {
        let script = "cat /proc/$(systemctl show --property=MainPID --value imgctl-agent)/mountstats";
        parse(&self.guest.ok(script, SHORT))
    }
}

/// Reads `mountstats`.
fn parse(text: &str) -> Option<Mount> {
    let (_, ours) = text.split_once(" with fstype nfs4 ")?;
    let ours = ours.split("\ndevice ").next().unwrap_or_default();
    let field = |name: &str| ours.lines().find_map(|line| line.trim_start().strip_prefix(name)).map(str::trim);
    let written = field("bytes:")?.split_whitespace().nth(5)?.parse().ok()?;
    Some(Mount { options: field("opts:")?.to_owned(), written })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &str = "device /dev/vda mounted on / with fstype ext4\n\
        device mn:/install mounted on /install with fstype nfs4 statvers=1.1\n\
        \topts:\trw,vers=4.1,rsize=1048576,hard,proto=tcp\n\tage:\t12\n\
        \tbytes:\t1 2 3 4 5 60000 7 8 \n\tRPC iostats version: 1.1\n\
        device tmpfs mounted on /run with fstype tmpfs\n";

    #[test]
    fn options_and_bytes_are_those_of_the_nfs_mount() {
        let mount = parse(STATS).unwrap();
        assert_eq!((mount.written, mount.options.starts_with("rw,vers=4.1,")), (60000, true));
        assert_eq!(parse("device /dev/vda mounted on / with fstype ext4\n"), None);
    }
}
