//! The agent's configuration: one TOML file, every folder settable, unknown keys refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use model::arch::Arch;
use proto::supervision::ServiceManager;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::emulation::own;

/// Where the configuration is looked for unless said otherwise.
pub const DEFAULT_PATH: &str = "/etc/imgctl/agent.toml";

/// In the identity's folder: the address of the coordinator that gave it.
const JOINED: &str = "coordinator";

/// Below it, a build would fail in the middle: a small image with both initrds and its archive takes about 2 GiB.
const MIN_SCRATCH_FREE: u64 = 4 << 30;

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration `{path}`; `imgctl-agent join` writes one", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or has a key that we don't know.
    #[error("cannot use the configuration `{path}`", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Nothing says where the coordinator is.
    #[error(
        "`{path}` names no coordinator and this node has joined none; `imgctl-agent join` does, as `imgctl agents token` prints it",
        path = path.display()
    )]
    NoCoordinator {
        /// The file.
        path: PathBuf,
        /// Why the address of the one that it joined can't be had.
        #[source]
        source: std::io::Error,
    },
    /// A value makes no sense.
    #[error("cannot use the configuration `{path}`: {reason}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// How this node sees the MN's install root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Install {
    /// To be found out from the mount table.
    #[default]
    Auto,
    /// The node is the MN.
    Local,
    /// By NFS.
    Nfs,
    /// Not at all: archives are uploaded.
    None,
}

impl Install {
    /// The word that the coordinator knows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Local => "local",
            Self::Nfs => "nfs",
            Self::None => "none",
        }
    }
}

/// How the agent works.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `HOST:PORT`; where the node joined, if the file doesn't say.
    #[serde(default)]
    pub coordinator: String,
    /// The agent's name, for messages; what counts is the name in its certificate.
    #[serde(default)]
    pub name: Option<String>,
    /// Everything that the agent keeps.
    #[serde(default = "state_dir")]
    pub state_dir: PathBuf,
    /// Key and certificates; `identity` in the state folder.
    #[serde(default, rename = "identity")]
    identity_dir: Option<PathBuf>,
    /// The attempts in hand; `journal` in the state folder.
    #[serde(default, rename = "journal")]
    journal_dir: Option<PathBuf>,
    /// Logs and archives until they are with the coordinator; `spool` in the state folder.
    #[serde(default, rename = "spool")]
    spool_dir: Option<PathBuf>,
    /// Where trees are built; `scratch` in the state folder.
    #[serde(default, rename = "scratch")]
    scratch_dir: Option<PathBuf>,
    /// Where the MN's install root is seen.
    #[serde(default = "install_dir")]
    pub install_dir: PathBuf,
    /// How it is seen.
    #[serde(default)]
    pub install: Install,
    /// What to mount where the node doesn't have it, `mn:/install`; empty: what the coordinator says.
    #[serde(default)]
    pub install_source: String,
    /// Mount options for that; empty: what the coordinator says, or [`crate::preflight::export::OPTIONS`].
    #[serde(default)]
    pub install_options: String,
    /// How many attempts at once.
    #[serde(default = "one")]
    pub slots: u16,
    /// Architectures other than the processor's whose images may be built here under emulation.
    #[serde(default, deserialize_with = "arches")]
    pub allow_emulation: Vec<Arch>,
    /// Bytes that must be free in the scratch folder before a build begins.
    #[serde(default = "min_scratch_free")]
    pub min_scratch_free: u64,
    /// The executable to run workers with; the agent's own unless it is part of another program (tests).
    #[serde(default)]
    pub worker_program: Option<PathBuf>,
    /// `http_proxy` and its like of the agent's own environment, for package managers.
    #[serde(skip)]
    pub proxies: BTreeMap<String, String>,
    /// Who started the agent, from its environment.
    #[serde(skip)]
    pub manager: ServiceManager,
}

fn state_dir() -> PathBuf {
    "/var/lib/imgctl-agent".into()
}

fn install_dir() -> PathBuf {
    "/install".into()
}

fn one() -> u16 {
    1
}

fn min_scratch_free() -> u64 {
    MIN_SCRATCH_FREE
}

/// In either spelling.
fn arches<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Arch>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    words.iter().map(|word| word.parse().map_err(de::Error::custom)).collect()
}

/// The variables of an environment that name proxies; programs look for either spelling.
pub fn proxies(environment: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    let known = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];
    let text = environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(|(name, _)| known.contains(&name.to_lowercase().as_str())).collect()
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::parse(path)?;
        if config.coordinator.is_empty() {
            let joined = fs::read_to_string(config.identity().join(JOINED));
            let no_coordinator = |source| ConfigError::NoCoordinator { path: path.to_owned(), source };
            config.coordinator = joined.map_err(no_coordinator)?.trim().to_owned();
        }
        config.checked(path)
    }

    /// The same on a node that is about to join this coordinator.
    pub fn load_to_join(path: &Path, coordinator: &str) -> Result<Self, ConfigError> {
        let mut config = Self::parse(path)?;
        if config.coordinator.is_empty() {
            config.coordinator = coordinator.to_owned();
        }
        config.checked(path)
    }

    /// Notes beside a new identity which coordinator gave it.
    pub fn note_joined(identity: &Path, coordinator: &str) -> std::io::Result<()> {
        fs::write(identity.join(JOINED), format!("{coordinator}\n"))
    }

    fn parse(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    fn checked(self, path: &Path) -> Result<Self, ConfigError> {
        self.check().map_err(|reason| ConfigError::Value { path: path.to_owned(), reason })?;
        Ok(self)
    }

    /// A configuration with everything at its default, for a coordinator and a state folder.
    pub fn new(coordinator: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            coordinator: coordinator.into(),
            name: None,
            state_dir: state_dir.into(),
            identity_dir: None,
            journal_dir: None,
            spool_dir: None,
            scratch_dir: None,
            install_dir: install_dir(),
            install: Install::Auto,
            install_source: String::new(),
            install_options: String::new(),
            slots: one(),
            allow_emulation: Vec::new(),
            min_scratch_free: min_scratch_free(),
            worker_program: None,
            proxies: BTreeMap::new(),
            manager: ServiceManager::default(),
        }
    }

    fn check(&self) -> Result<(), String> {
        let host =
            self.coordinator.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if host.is_none() {
            return Err(format!("coordinator `{}` is not HOST:PORT", self.coordinator));
        }
        if !self.install_source.is_empty() && !self.install_source.contains(":/") {
            return Err(format!("install_source `{}` is not HOST:/PATH", self.install_source));
        }
        if self.slots == 0 {
            return Err("slots is 0; an agent that takes no builds need not run".to_owned());
        }
        let folders = [
            self.state_dir.clone(),
            self.identity(),
            self.journal(),
            self.spool(),
            self.scratch(),
            self.install_dir.clone(),
        ];
        match folders.iter().find(|folder| !folder.is_absolute()) {
            Some(folder) => Err(format!("`{}` is not an absolute path", folder.display())),
            None => Ok(()),
        }
    }

    /// Key and certificates.
    pub fn identity(&self) -> PathBuf {
        self.folder(self.identity_dir.as_ref(), "identity")
    }

    /// The attempts in hand.
    pub fn journal(&self) -> PathBuf {
        self.folder(self.journal_dir.as_ref(), "journal")
    }

    /// Logs and archives on their way.
    pub fn spool(&self) -> PathBuf {
        self.folder(self.spool_dir.as_ref(), "spool")
    }

    /// Where trees are built.
    pub fn scratch(&self) -> PathBuf {
        self.folder(self.scratch_dir.as_ref(), "scratch")
    }

    /// Where what the agent mounts itself is looked at: an empty folder of its own.
    pub fn mount_point(&self) -> PathBuf {
        self.state_dir.join("install")
    }

    /// The executable to run workers with; the agent's own where none is named.
    pub fn program(&self) -> PathBuf {
        self.worker_program.clone().unwrap_or_else(own::program)
    }

    fn folder(&self, said: Option<&PathBuf>, name: &str) -> PathBuf {
        said.cloned().unwrap_or_else(|| self.state_dir.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn proxies_are_known_by_their_names() {
        let environment =
            [("https_proxy", "http://p:3128"), ("NO_PROXY", "mn"), ("HOME", "/root"), ("my_http_proxy", "x")];
        let found = proxies(environment.into_iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["NO_PROXY", "https_proxy"]);
    }

    #[test]
    fn a_node_that_joined_needs_no_coordinator_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        fs::write(&path, format!("identity = {:?}\n", folder.path())).unwrap();
        assert!(matches!(Config::load(&path), Err(ConfigError::NoCoordinator { .. })));
        assert_eq!(Config::load_to_join(&path, "mn:7443").unwrap().coordinator, "mn:7443");
        Config::note_joined(folder.path(), "mn:7443").unwrap();
        assert_eq!(Config::load(&path).unwrap().coordinator, "mn:7443");
        fs::write(&path, format!("coordinator = \"proxy:1\"\nidentity = {:?}\n", folder.path())).unwrap();
        assert_eq!(Config::load(&path).unwrap().coordinator, "proxy:1");
        assert_eq!(Config::load_to_join(&path, "mn:7443").unwrap().coordinator, "proxy:1");
    }

    #[test]
    fn the_coordinator_is_all_that_must_be_said() {
        let config = load("coordinator = \"mn:7443\"\n").unwrap();
        assert_eq!(config, Config::new("mn:7443", "/var/lib/imgctl-agent"));
        assert_eq!(config.scratch(), Path::new("/var/lib/imgctl-agent/scratch"));
        let config =
            load("coordinator = \"mn:7443\"\nstate_dir = \"/s\"\nscratch = \"/fast\"\ninstall = \"nfs\"\n").unwrap();
        assert_eq!((config.scratch(), config.spool()), ("/fast".into(), "/s/spool".into()));
        let config = load("coordinator = \"mn:7443\"\nallow_emulation = [\"ppc64el\", \"aarch64\"]\n").unwrap();
        assert_eq!(config.allow_emulation, [Arch::Ppc64le, Arch::Aarch64]);
    }

    #[test]
    fn mistakes_are_refused() {
        for text in [
            "coordinator = \"mn\"",
            "coordinator = \"mn:7443\"\nslot = 2",
            "coordinator = \"mn:7443\"\nslots = 0",
            "coordinator = \"mn:7443\"\nscratch = \"scratch\"",
            "coordinator = \"mn:7443\"\ninstall = \"smb\"",
            "coordinator = \"mn:7443\"\ninstall_source = \"/install\"",
            "coordinator = \"mn:7443\"\nallow_emulation = [\"vax\"]",
        ] {
            assert!(load(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_shipped_configuration_is_valid() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/agent.toml");
        // It says nothing that joining doesn't.
        let loaded = Config::load_to_join(&shipped, "mn:7443").unwrap();
        assert_eq!(loaded, Config::new("mn:7443", "/var/lib/imgctl-agent"));
    }
}
