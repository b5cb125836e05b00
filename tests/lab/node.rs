//! A build node: a guest with an agent under systemd, as an administrator would set it up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::disks::Disk;
use super::guest::{Guest, GuestOptions};
use super::mn::Mn;
use super::network::{Network, address};
use crate::process::binary;
use crate::site::text;
use crate::wait::eventually;

/// How long an emulated kernel and its systemd may take, on a machine that is busy.
const BOOT: Duration = Duration::from_secs(400);

/// How long one command may take that does little.
const SHORT: Duration = Duration::from_secs(300);

/// Where packages lie on a node that has some.
const PACKAGES: &str = "/root/packages";

/// The unit of a node that has a program instead of a package.
const UNIT: &str = include_str!("../../deploy/systemd/imgctl-agent.service");

/// What differs from one node to the next.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Its name.
    pub name: &'static str,
    /// What its addresses are made of.
    pub number: u8,
    /// MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u8,
    /// Where its agent comes from.
    pub agent: AgentFrom,
    /// Who mounts the install root.
    pub mounts: Mounts,
    /// Lines of `agent.toml`; without any it stays as it comes.
    pub config: String,
    /// Lines of `/etc/hosts` beside its own.
    pub hosts: String,
}

/// Where the agent of a node comes from.
#[derive(Debug, Clone)]
pub enum AgentFrom {
    /// The program of this workspace and its unit.
    Workspace,
    /// The .deb in this folder, which is installed as an administrator would. All packages of the folder are on the node.
    Packages(PathBuf),
}

/// Who mounts the install root of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// The agent, for each build, as the coordinator says.
    Agent,
    /// The node itself, at `/install`, as its administrator has set it up.
    Node,
}

/// What an administrator writes for the second.
const INSTALL_MOUNT: &str = "[Unit]\nAfter=network-online.target\nWants=network-online.target\n\
    [Mount]\nWhat=mn:/install\nWhere=/install\nType=nfs4\nOptions=vers=4.1,hard\n\
    [Install]\nWantedBy=remote-fs.target\n";

/// See the module.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: &'static str,
    /// The machine.
    pub guest: Guest,
    tap: String,
}

impl Node {
    /// A node that is off; what is its own lies in a folder of its name in `folder`.
    pub fn new(network: &Network, folder: &Path, disk: &Disk, options: &NodeOptions) -> Self {
        let folder = folder.join(options.name);
        let is_new = !folder.exists();
        let own = own_files(&folder.join("own"), options);
        tell_of_an_older_agent(&folder, is_new, &options.agent);
        let tap = network.tap(options.number);
        let mac = format!("52:54:00:61:00:{:02x}", options.number);
        let NodeOptions { name, memory, cpus, .. } = *options;
        let guest = GuestOptions { name, memory, cpus, tap: tap.clone(), mac, own };
        Self { name, guest: Guest::new(&folder, disk, guest), tap }
    }

    /// Waits until it is up, and lets its agent join and start; returns when it is connected.
    pub fn join(&mut self, mn: &Mn) {
        self.guest.is_up(BOOT);
        let token = mn.site.cli.json("agents token");
        let (token, fingerprint) = (text(&token, "token"), text(&token, "ca_fingerprint"));
        let coordinator = &mn.site.cli.coordinator;
        let join = format!("join --coordinator {coordinator} --token {token} --ca-fingerprint {fingerprint}");
        let install = format!("test ! -e {PACKAGES} || dpkg -i {PACKAGES}/imgctl-agent_*.deb");
        self.guest.ok(&install, SHORT);
        let mount = "test ! -e /etc/systemd/system/install.mount || systemctl enable --now install.mount";
        self.guest.ok(mount, SHORT);
        self.guest.ok(&format!("imgctl-agent {join} && systemctl enable --now imgctl-agent"), SHORT);
        self.is_connected(mn);
    }

    /// Waits until its agent is connected.
    pub fn is_connected(&self, mn: &Mn) {
        eventually(&format!("the agent of {} to connect", self.name), BOOT, || {
            std::thread::sleep(Duration::from_millis(500));
            let agents = mn.site.cli.json("agents list");
            let found = agents.as_array()?.iter().find(|agent| text(agent, "name") == self.name)?.clone();
            (text(&found, "state") == "connected").then_some(())
        });
    }

    /// How many WRITE calls its kernel's NFS client has made.
    pub fn nfs_writes(&self) -> u64 {
        let calls = self.guest.ok("grep ^proc4 /proc/net/rpc/nfs || true", SHORT);
        // `proc4`, how many kinds there are, then NULL, READ, WRITE, …; nothing before the first mount.
        calls.split_whitespace().nth(4).map_or(0, |calls| calls.parse().expect("a number"))
    }

    /// Takes its cable out.
    pub fn cut(&self, mn: &Mn) {
        mn.network.cut(&self.tap);
    }

    /// Puts it back.
    pub fn mend(&self, mn: &Mn) {
        mn.network.mend(&self.tap);
    }
}

/// A node unpacks and installs its agent once, at its first boot: one of an earlier run has the agent of that run.
fn tell_of_an_older_agent(folder: &Path, is_new: bool, agent: &AgentFrom) {
    let files = match agent {
        AgentFrom::Workspace => vec![binary("imgctl-agent")],
        AgentFrom::Packages(packages) => debs(packages),
    };
    let mut all = Sha256::new();
    files.iter().for_each(|file| all.update(fs::read(file).expect("it can be read")));
    let (now, noted) = (hex::encode(all.finalize()), folder.join("agent.sha256"));
    if is_new {
        fs::write(noted, now).expect("a file");
    } else if fs::read_to_string(noted).unwrap_or_default() != now {
        println!("note: {} has the agent of an earlier tree; remove the state folder to begin anew", folder.display());
    }
}

/// The archive that the first boot unpacks.
fn own_files(folder: &Path, options: &NodeOptions) -> PathBuf {
    let archive = folder.with_extension("tar");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    let NodeOptions { name, number, mounts, config, agent, hosts, .. } = options;
    if *mounts == Mounts::Node {
        write("etc/systemd/system/install.mount", INSTALL_MOUNT);
    }
    write("etc/hostname", &format!("{name}\n"));
    write("etc/hosts", &format!("127.0.0.1 localhost\n{} {name}\n{hosts}", address(*number)));
    let lan = format!("[Match]\nName=eth0\n[Network]\nAddress={}/24\nLinkLocalAddressing=no\n", address(*number));
    write("etc/systemd/network/lan.network", &lan);
    if !config.is_empty() {
        write("etc/imgctl/agent.toml", config);
    }
    match agent {
        AgentFrom::Packages(from) => copy_packages(from, &folder.join(PACKAGES.trim_start_matches('/'))),
        AgentFrom::Workspace => {
            write("etc/systemd/system/imgctl-agent.service", UNIT);
            let started = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=/")?.split(' ').next());
            let program = folder.join(started.expect("the unit starts a program"));
            fs::create_dir_all(program.parent().expect("it is below the folder")).expect("a folder");
            without_symbols(&binary("imgctl-agent"), &program);
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
    }
    // Whole sectors; tar pads to that anyway.
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "-cf"]).arg(&archive).arg("-C").arg(folder).arg(".");
    assert!(tar.status().expect("there is a tar").success(), "tar {}", folder.display());
    archive
}

fn copy_packages(from: &Path, to: &Path) {
    if to.exists() {
        rootfs::remove::remove_tree(to).expect("it is ours");
    }
    fs::create_dir_all(to).expect("a folder");
    for package in debs(from) {
        fs::copy(&package, to.join(package.file_name().expect("it has a name"))).expect("a copy");
    }
}

fn debs(folder: &Path) -> Vec<PathBuf> {
    let listed =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}; make lab makes it", folder.display()));
    let paths = listed.flatten().map(|entry| entry.path());
    let mut debs: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    debs.sort();
    debs
}

/// A program built for tests is mostly symbols.
fn without_symbols(from: &Path, to: &Path) {
    let status = Command::new("strip").arg("-o").arg(to).arg(from).status().expect("there is a strip");
    assert!(status.success(), "strip {}", from.display());
}
