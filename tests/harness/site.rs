//! A whole site: coordinator, agents and an admin's CLI.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Cli, Ran};
use crate::fixture::{arch, debian, mirrors};
use crate::process::{Daemon, binary};
use crate::wait::eventually;

/// How long a program may take to be there.
const START: Duration = Duration::from_secs(60);

/// How long the deletion of a tree may take: disks that discard as they delete need milliseconds per file.
pub const CLEARED: Duration = Duration::from_secs(40);

/// What differs from the usual site.
#[derive(Debug, Clone, Default)]
pub struct SiteOptions {
    /// Further lines of `coordinator.toml`.
    pub config: String,
    /// The address that the coordinator listens on, if it is not one of this machine alone.
    pub listen: Option<String>,
    /// The install root, if it is not the site's own folder.
    pub install_dir: Option<PathBuf>,
    /// The site's folder, if it is not to be a new one that goes with the site.
    pub folder: Option<PathBuf>,
}

/// What differs from the usual agent.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// How it sees the install root: `local` or `none`.
    pub install: &'static str,
    /// Its scratch folder, if it is not below its own.
    pub scratch: Option<PathBuf>,
    /// The coordinator's address, if it is not to be reached straight away.
    pub coordinator: Option<String>,
    /// Further lines of `agent.toml`.
    pub config: String,
    /// The program, if it is not the one that was built with the tests.
    pub program: Option<PathBuf>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self { install: "local", scratch: None, coordinator: None, config: String::new(), program: None }
    }
}

/// A site in a folder of its own.
#[derive(Debug)]
pub struct Site {
    // Daemons are dropped, and so ended, before the folder is.
    agents: Vec<(String, Daemon)>,
    /// Those of agents that have one of their own.
    programs: BTreeMap<String, PathBuf>,
    coordinator: Option<Daemon>,
    /// The admin's CLI.
    pub cli: Cli,
    install_dir: PathBuf,
    folder: PathBuf,
    // Dropped last.
    _own_folder: Option<TempDir>,
}

impl Site {
    /// A coordinator, and no agent yet.
    pub fn start() -> Self {
        Self::start_with(SiteOptions::default())
    }

    /// The same, with something different.
    pub fn start_with(options: SiteOptions) -> Self {
        let own_folder = options
            .folder
            .is_none()
            .then(|| tempfile::Builder::new().prefix("imgctl-test-").tempdir_in("/var/tmp").expect("a folder"));
        let new = || own_folder.as_ref().map(|own| own.path().to_owned());
        let folder = options.folder.clone().or_else(new).expect("there is one or the other");
        let install_dir = options.install_dir.unwrap_or_else(|| folder.join("install"));
        let path = |name: &str| folder.join(name).display().to_string();
        let made = Command::new(binary("imgctl-coordinator"))
            .args([
                "init",
                "--listen",
                options.listen.as_deref().unwrap_or("127.0.0.1:0"),
                "--config",
                &path("coordinator.toml"),
            ])
            .args(["--state-dir", &path("coordinator"), "--admin-dir", &path("admin")])
            .args(["--install-dir", &install_dir.display().to_string()])
            .output()
            .expect("imgctl-coordinator can be started");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let config = folder.join("coordinator.toml");
        override_keys(&config, &options.config);
        let cli = Cli { coordinator: String::new(), identity: folder.join("admin/identity") };
        let _own_folder = own_folder;
        let mut site = Self {
            agents: Vec::new(),
            programs: BTreeMap::new(),
            coordinator: None,
            cli,
            install_dir,
            folder,
            _own_folder,
        };
        site.start_coordinator();
        site
    }

    /// Starts the coordinator, again after it was stopped or killed: on the same port then.
    pub fn start_coordinator(&mut self) {
        let mut daemon = self.coordinator_process();
        let address = eventually("the coordinator to listen", START, || {
            assert!(daemon.ended().is_none(), "the coordinator ended: {}", daemon.log());
            daemon.output().lines().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
        });
        override_keys(&self.path("coordinator.toml"), &format!("listen = \"{address}\""));
        self.cli.coordinator = address;
        self.coordinator = Some(daemon);
    }

    /// Starts the coordinator again on the port that it had, and doesn't wait for it.
    pub fn launch_coordinator(&mut self) {
        self.coordinator = Some(self.coordinator_process());
    }

    fn coordinator_process(&self) -> Daemon {
        let mut command = Command::new(binary("imgctl-coordinator"));
        command.args(["run", "--config"]).arg(self.path("coordinator.toml"));
        self.supervise(&mut command, "coordinator");
        Daemon::start(command, &self.path("coordinator.log"))
    }

    /// What a daemon would tell systemd it tells to the socket `<name>.notify`; where a test listens, it hears it.
    fn supervise(&self, command: &mut Command, name: &str) {
        command.env("NOTIFY_SOCKET", self.path(&format!("{name}.notify"))).env("WATCHDOG_USEC", "1000000");
    }

    /// The coordinator's process.
    pub fn coordinator(&mut self) -> &mut Daemon {
        self.coordinator.as_mut().expect("it was started")
    }

    /// Where everything of it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Something below the site's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The install root.
    pub fn install_dir(&self) -> &Path {
        &self.install_dir
    }

    /// Joins an agent and starts it; returns when it is connected.
    pub fn agent(&mut self, name: &str) {
        self.agent_with(name, AgentOptions::default());
    }

    /// The same, with something different.
    pub fn agent_with(&mut self, name: &str, options: AgentOptions) {
        let token = self.cli.json("agents token");
        let config = self.agent_config(name, &options);
        if let Some(program) = options.program {
            self.programs.insert(name.to_owned(), program);
        }
        let (token, fingerprint) = (text(&token, "token"), text(&token, "ca_fingerprint"));
        let joined = join_with(&self.program(name), &config, &self.cli.coordinator, token, fingerprint);
        assert_eq!(joined.code, 0, "{}", joined.err);
        self.start_agent(name);
    }

    /// Writes an agent's configuration.
    pub fn agent_config(&self, name: &str, options: &AgentOptions) -> PathBuf {
        let state = self.path(name);
        fs::create_dir_all(&state).expect("a folder");
        let config = self.path(&format!("{name}.toml"));
        let coordinator = options.coordinator.as_ref().unwrap_or(&self.cli.coordinator);
        let scratch = options.scratch.clone().unwrap_or_else(|| state.join("scratch"));
        let lines = format!(
            "coordinator = {coordinator:?}\nname = {name:?}\nstate_dir = {state:?}\nscratch = {scratch:?}\ninstall_dir = {:?}\ninstall = {:?}\n{}",
            self.install_dir, options.install, options.config
        );
        fs::write(&config, lines).expect("a file");
        config
    }

    /// Starts an agent that has joined; returns when it is connected.
    pub fn start_agent(&mut self, name: &str) {
        self.launch_agent(name);
        let cli = self.cli.clone();
        eventually("the agent to connect", START, || {
            let agents = cli.json("agents list");
            let found = agents.as_array()?.iter().find(|agent| text(agent, "name") == name)?.clone();
            (text(&found, "state") == "connected").then_some(())
        });
    }

    /// Starts an agent that has joined, and doesn't wait for it.
    pub fn launch_agent(&mut self, name: &str) {
        let mut command = Command::new(self.program(name));
        command.args(["run", "--config"]).arg(self.path(&format!("{name}.toml")));
        self.supervise(&mut command, name);
        let daemon = Daemon::start(command, &self.path(&format!("{name}.log")));
        self.agents.retain(|(known, _)| known != name);
        self.agents.push((name.to_owned(), daemon));
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.get(name).cloned().unwrap_or_else(|| binary("imgctl-agent"))
    }

    /// An agent's process.
    pub fn agent_daemon(&mut self, name: &str) -> &mut Daemon {
        &mut self.agents.iter_mut().find(|(known, _)| known == name).expect("it was started").1
    }

    /// Waits until an agent has cleared its scratch folder, and panics if it doesn't.
    pub fn scratch_is_cleared(&self, agent: &str) {
        let scratch = self.path(&format!("{agent}/scratch"));
        eventually("scratch to be cleared", CLEARED, || (fs::read_dir(&scratch).ok()?.count() == 0).then_some(()));
    }

    /// Writes a file below the install root; returns its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.install_dir.join(name);
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    /// Defines an osimage of the machine's own Debian with these packages and further attributes.
    pub fn osimage(&self, name: &str, packages: &str, attributes: &[String]) {
        let list = self.write(&format!("lists/{name}.pkglist"), packages);
        let (_, version) = debian();
        let pkgdir = format!("pkgdir={}", mirrors());
        let mut args = vec!["osimage".to_owned(), "create".into(), name.into(), "provmethod=netboot".into()];
        args.extend([format!("osvers=debian{version}"), format!("osarch={}", arch()), format!("profile={name}")]);
        args.extend([pkgdir, format!("pkglist={}", list.display())]);
        args.extend(attributes.iter().cloned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.cli.run_args(&args, b"").succeeded();
    }

    /// The rootimgdir that such an osimage has by default.
    pub fn rootimgdir(&self, name: &str) -> PathBuf {
        self.rootimgdir_of(name, arch())
    }

    /// The same of an architecture.
    pub fn rootimgdir_of(&self, name: &str, arch: &str) -> PathBuf {
        self.install_dir.join(format!("netboot/debian{}/{arch}/{name}", debian().1))
    }
}

/// Runs `imgctl-agent join`.
pub fn join(config: &Path, coordinator: &str, token: &str, fingerprint: &str) -> Ran {
    join_with(&binary("imgctl-agent"), config, coordinator, token, fingerprint)
}

fn join_with(program: &Path, config: &Path, coordinator: &str, token: &str, fingerprint: &str) -> Ran {
    let output = Command::new(program)
        .args(["join", "--coordinator", coordinator, "--token", token, "--ca-fingerprint", fingerprint, "--config"])
        .arg(config)
        .output()
        .expect("imgctl-agent can be started");
    let read = |bytes| String::from_utf8(bytes).expect("imgctl-agent writes UTF-8");
    Ran { code: output.status.code().unwrap_or(-1), out: read(output.stdout), err: read(output.stderr) }
}

/// A field of a document that must be there and be text.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}"))
}

fn override_keys(path: &Path, lines: &str) {
    let old = fs::read_to_string(path).expect("the configuration is there");
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let new: Vec<String> = lines.lines().map(key).collect();
    let kept = old.lines().filter(|line| !new.contains(&key(line)));
    let whole: Vec<&str> = lines.lines().chain(kept).collect();
    fs::write(path, whole.join("\n")).expect("the configuration can be written");
}
