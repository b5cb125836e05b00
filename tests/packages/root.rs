//! A root in which packages are installed: what runs in it, and what lies in it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dnf::{Said, said};
use super::made::{Packages, packages};

/// Mounts what maintainer scripts may look for, and the packages, for as long as the command runs.
const MOUNTS: &str = "for i in proc dev packages; do mkdir -p $1/$i; done; mount -t proc proc $1/proc; \
                      mount --rbind /dev $1/dev; mount --bind $2 $1/packages; root=$1; shift 2; exec chroot $root \"$@\"";

/// A whole system's root folder; nothing runs in it but what is asked for.
#[derive(Debug)]
pub struct Root(pub PathBuf);

impl Root {
    /// Runs a line of shell in it. The packages lie in `/packages`.
    pub fn sh(&self, line: &str) -> Said {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-ec",
            MOUNTS,
            "sh",
        ]);
        command.arg(&self.0).arg(packages().folder());
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]);
        command.args(["DEBIAN_FRONTEND=noninteractive", "sh", "-c", line]);
        said(&mut command)
    }

    /// Something in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// Whether there is such a thing.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Panics unless each of these is there, root's, and of this mode.
    pub fn holds(&self, paths: &[(&str, u32)]) {
        for (path, mode) in paths {
            let data = self.path(path).symlink_metadata().unwrap_or_else(|error| panic!("{path}: {error}"));
            let found = (data.uid(), data.gid(), data.permissions().mode() & 0o7777);
            assert_eq!(found, (0, 0, *mode), "{path}: {found:?}, {mode:o}");
        }
    }

    /// What systemd says of a unit: `enabled` or `disabled`.
    pub fn is_enabled(&self, unit: &str) -> String {
        self.sh(&format!("systemctl is-enabled {unit}")).text.trim().to_owned()
    }

    /// Adds a line to a file.
    pub fn add_line(&self, path: &str, line: &str) {
        let path = self.path(path);
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{text}{line}\n")).expect("the root can be written");
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// What the packages put where, whatever their format, with modes.
pub const FILES: &[(&str, u32)] = &[
    ("/usr/bin/imgctl", 0o755),
    ("/usr/share/man/man1/imgctl.1.gz", 0o644),
    ("/usr/share/man/man1/imgctl-builds-list.1.gz", 0o644),
    ("/usr/share/bash-completion/completions/imgctl", 0o644),
    ("/usr/share/zsh/site-functions/_imgctl", 0o644),
    ("/usr/share/fish/vendor_completions.d/imgctl.fish", 0o644),
    ("/usr/share/doc/imgctl/copyright", 0o644),
    ("/usr/sbin/imgctl-agent", 0o755),
    ("/usr/lib/systemd/system/imgctl-agent.service", 0o644),
    ("/usr/share/man/man8/imgctl-agent-join.8.gz", 0o644),
    ("/etc/imgctl", 0o755),
    ("/etc/imgctl/agent.toml", 0o644),
    ("/var/lib/imgctl-agent", 0o711),
    ("/usr/sbin/imgctl-coordinator", 0o755),
    ("/usr/lib/systemd/system/imgctl-coordinator.service", 0o644),
    ("/usr/share/man/man8/imgctl-coordinator-check.8.gz", 0o644),
    ("/usr/share/imgctl/examples/compute.ppc64le.pkglist", 0o644),
    ("/usr/share/doc/imgctl-coordinator/examples/coordinator.toml", 0o644),
    ("/var/lib/imgctl", 0o700),
];

/// What must hold after a fresh installation of everything.
pub fn is_installed(root: &Root) {
    root.holds(FILES);
    let says = |line: &str| root.sh(line).done();
    assert!(says("imgctl --help").contains("Images:"));
    assert!(says("imgctl-agent --version").contains(super::made::version()));
    assert!(says("imgctl-coordinator init --help").contains("--install-dir"));
    // Nothing of it starts at the next boot unless somebody says so.
    for unit in ["imgctl-agent", "imgctl-coordinator"] {
        assert_eq!(root.is_enabled(unit), "disabled");
        let verdict = said_of(&says(&format!("systemd-analyze verify --man=no {unit}.service 2>&1")), unit);
        assert_eq!(verdict, "");
    }
    let completed = says("bash -c '. /usr/share/bash-completion/completions/imgctl; complete -p imgctl'");
    assert!(completed.contains("-F _imgctl"), "{completed}");
    // The agent finds nothing wrong with its configuration but that it has not joined.
    let refused = root.sh("imgctl-agent run");
    assert!(refused.failed().contains("this node has joined none"));
}

/// Lines about the unit alone: others of the system may be imperfect.
fn said_of(text: &str, unit: &str) -> String {
    text.lines().filter(|line| line.contains(unit)).collect::<Vec<_>>().join("\n")
}

/// What an administrator did with it since: both are enabled, set up, and one file is edited.
pub fn is_used(root: &Root) {
    root.sh("systemctl enable imgctl-agent imgctl-coordinator").done();
    root.sh("imgctl-coordinator init").done();
    root.add_line("/etc/imgctl/agent.toml", "slots = 2");
    fs::create_dir(root.path("/var/lib/imgctl-agent/identity")).expect("the root can be written");
    root.add_line("/var/lib/imgctl-agent/identity/key.pem", "a key");
}

/// What of that must still hold after an upgrade.
pub fn is_kept(root: &Root) {
    state_is_kept(root);
    assert!(root.text("/etc/imgctl/agent.toml").ends_with("\nslots = 2\n"));
    root.holds(FILES);
    for unit in ["imgctl-agent", "imgctl-coordinator"] {
        assert_eq!(root.is_enabled(unit), "enabled");
    }
}

/// Keys are there whatever happens.
pub fn state_is_kept(root: &Root) {
    assert_eq!(root.text("/var/lib/imgctl-agent/identity/key.pem"), "a key\n");
    assert!(root.has("/var/lib/imgctl/pki"));
    assert!(root.has("/etc/imgctl/coordinator.toml"));
}

/// What must hold when the packages were removed.
pub fn is_removed(root: &Root) {
    state_is_kept(root);
    for (path, _) in FILES.iter().filter(|(path, _)| path.starts_with("/usr")) {
        assert!(!root.has(path), "{path} is left");
    }
    for unit in ["imgctl-agent", "imgctl-coordinator"] {
        assert!(!root.has(&format!("/etc/systemd/system/multi-user.target.wants/{unit}.service")), "{unit} is enabled");
    }
}

/// The names of packages as the shell sees them, in one version.
pub fn listed(file: impl Fn(&Packages, &str) -> PathBuf) -> String {
    let names = ["imgctl", "imgctl-agent", "imgctl-coordinator"].map(|name| {
        let file = file(packages(), name);
        let name = file.file_name().expect("a package is a file");
        Path::new("/packages").join(name).display().to_string()
    });
    names.join(" ")
}
