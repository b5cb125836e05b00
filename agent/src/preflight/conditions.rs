//! The names of all conditions that an agent knows, what each keeps a node from, and its remedy. docs/INSTALL.md has
//! the same list.

use model::agent::{Condition, Effect};

use crate::sys::probe;

/// A kind of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// As it is told.
    pub name: &'static str,
    /// What it keeps the node from.
    pub effect: Effect,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Kind {
    /// One that was found.
    pub fn found(self, detail: impl Into<String>) -> Condition {
        Condition {
            name: self.name.to_owned(),
            effect: self.effect,
            detail: detail.into(),
            remedy: self.remedy.to_owned(),
        }
    }
}

const fn kind(name: &'static str, effect: Effect, remedy: &'static str) -> Kind {
    Kind { name, effect, remedy }
}

/// Nothing is mounted, and nobody says what should be.
pub const INSTALL_NOT_MOUNTED: Kind = kind(
    "install-not-mounted",
    Effect::NoInstall,
    "set `install_source` in coordinator.toml or agent.toml, or mount the install root; set `install = \"none\"` if it is meant so",
);
/// `mount` failed.
pub const INSTALL_MOUNT_FAILED: Kind = kind(
    "install-mount-failed",
    Effect::NoInstall,
    "on the management node see that the NFS server runs, exports it to this node (exportfs -v) and is reached at port 2049; here install nfs-common or nfs-utils",
);
/// The server says nothing.
pub const INSTALL_NO_ANSWER: Kind = kind(
    "install-no-answer",
    Effect::NoInstall,
    "see that the NFS server runs and that this node reaches its port 2049",
);
/// There is something, but not this coordinator's install root.
pub const INSTALL_NOT_OURS: Kind = kind(
    "install-not-ours",
    Effect::NoInstall,
    "mount the install root of this coordinator (`install_dir` in its coordinator.toml) and no other",
);
/// What was written is not what is read.
pub const INSTALL_DATA_FAULT: Kind = kind(
    "install-data-fault",
    Effect::NoInstall,
    "mount it with vers=4.1: some servers answer NFS 4.2's READ_PLUS wrongly",
);
/// Nothing can be written.
pub const INSTALL_NOT_WRITABLE: Kind = kind(
    "install-not-writable",
    Effect::NoPublish,
    "nothing, if uploads are meant; else export and mount it read-write",
);
/// Root is nobody there.
pub const INSTALL_ROOT_SQUASH: Kind = kind(
    "install-root-squash",
    Effect::Note,
    "nothing: publishing works; package lists and scripts that only root may read are not seen, though",
);
/// Too little room for an archive.
pub const INSTALL_SPACE: Kind =
    kind("install-space", Effect::Note, "make room on the management node; publishing will fail there");
/// NFS 4.2.
pub const INSTALL_NFS_VERSION: Kind = kind(
    "install-nfs-version",
    Effect::Note,
    "mount it with vers=4.1: with 4.2 some servers return wrong data (every archive is checked, so none goes live)",
);
/// The server's clock is another.
pub const INSTALL_CLOCK: Kind =
    kind("install-clock", Effect::Note, "run chrony or ntpd on the server and on this node");
/// Nobody knows.
pub const INSTALL_NOT_LOOKED_AT: Kind =
    kind("install-not-looked-at", Effect::NoInstall, "install util-linux (unshare); the agent's own log says more");
/// The coordinator's clock is another.
pub const COORDINATOR_CLOCK: Kind =
    kind("coordinator-clock", Effect::Note, "run chrony or ntpd on both; certificates depend on the time");
/// The scratch disk is full.
pub const SCRATCH_SPACE: Kind = kind("scratch-space", Effect::NoBuilds, probe::SPACE_HINT);
/// The scratch disk can't hold what a root image has.
pub const SCRATCH_REFUSES: Kind = kind("scratch-refuses", Effect::NoBuilds, probe::REFUSES_HINT);
/// A mount option is in the way.
pub const SCRATCH_OPTION: Kind = kind("scratch-option", Effect::NoBuilds, probe::OPTION_HINT);
/// The scratch folder itself.
pub const SCRATCH_FOLDER: Kind = kind("scratch-folder", Effect::NoBuilds, probe::FOLDER_HINT);

/// All of them.
pub const ALL: [Kind; 16] = [
    INSTALL_NOT_MOUNTED,
    INSTALL_MOUNT_FAILED,
    INSTALL_NO_ANSWER,
    INSTALL_NOT_OURS,
    INSTALL_DATA_FAULT,
    INSTALL_NOT_WRITABLE,
    INSTALL_ROOT_SQUASH,
    INSTALL_SPACE,
    INSTALL_NFS_VERSION,
    INSTALL_CLOCK,
    INSTALL_NOT_LOOKED_AT,
    COORDINATOR_CLOCK,
    SCRATCH_SPACE,
    SCRATCH_REFUSES,
    SCRATCH_OPTION,
    SCRATCH_FOLDER,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_has_its_own_name_and_a_place_in_the_documents() {
        let names: BTreeSet<_> = ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), ALL.len());
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/INSTALL.md");
        let guide = std::fs::read_to_string(guide).unwrap();
        let of_emulation =
            ["emulation-not-registered", "emulation-no-f-flag", "emulation-does-not-run", "node-is-emulated"];
        for name in names.into_iter().chain(of_emulation) {
            assert!(guide.contains(&format!("`{name}`")), "docs/INSTALL.md doesn't tell of {name}");
        }
    }
}
