//! The coordinator's configuration file, `coordinator.toml`.
//!
//! Every state folder is given here, so that a whole system can run beside the machine's own paths.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::stage::Stage;
use proto::supervision::ServiceManager;
use serde::{Deserialize, Serialize};

/// Where the file is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/imgctl/coordinator.toml";

/// What the coordinator is told. Unknown keys are refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port that agents and users connect to.
    pub listen: SocketAddr,
    /// Store, keys, plans and logs.
    pub state_dir: PathBuf,
    /// The MN's install root.
    pub install_dir: PathBuf,
    /// What agents mount to see it, `mn:/install`, unless their own configuration says; empty: nothing.
    pub install_source: String,
    /// Mount options for that; empty: the agents' own.
    pub install_options: String,
    /// How long an agent may be silent, in seconds; its attempts are taken from it a quarter of that later.
    pub lease_seconds: u32,
    /// How long a build that no agent can ever run waits for one, in seconds.
    pub max_wait_seconds: u32,
    /// How many times a build is tried when agents are lost.
    pub max_attempts: u32,
    /// How many generations of a rootimgdir are kept; the live one always is.
    pub keep_generations: usize,
    /// Hash for root's password in images, as in `/etc/shadow`; without it root is locked.
    pub root_password_hash: Option<String>,
    /// Threads for packing; 0 means one per processor.
    pub pack_threads: usize,
    /// How long a worker may say nothing in each stage, in seconds.
    pub silence_seconds: SilenceSeconds,
    /// Who started the daemon, from its environment.
    #[serde(skip)]
    pub manager: ServiceManager,
}

/// How long a worker may say nothing in each stage, in seconds; 0: for ever. At half of it the log warns, at the
/// whole of it the build fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each is a stage")]
pub struct SilenceSeconds {
    pub prepare: u32,
    pub packages: u32,
    pub otherpkgs: u32,
    pub configure: u32,
    pub postinstall: u32,
    pub initrd: u32,
    pub publish: u32,
}

impl Default for SilenceSeconds {
    fn default() -> Self {
        Self {
            prepare: 300,
            packages: 1800,
            otherpkgs: 1800,
            configure: 300,
            postinstall: 1800,
            initrd: 900,
            publish: 600,
        }
    }
}

impl SilenceSeconds {
    /// Each stage with its limit.
    pub fn limits(&self) -> Vec<(Stage, u32)> {
        let of = |stage| match stage {
            Stage::Prepare => self.prepare,
            Stage::Packages => self.packages,
            Stage::Otherpkgs => self.otherpkgs,
            Stage::Configure => self.configure,
            Stage::Postinstall => self.postinstall,
            Stage::Initrd => self.initrd,
            Stage::Publish => self.publish,
        };
        Stage::ALL.map(|stage| (stage, of(stage))).to_vec()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7443)),
            state_dir: "/var/lib/imgctl".into(),
            install_dir: "/install".into(),
            install_source: String::new(),
            install_options: String::new(),
            lease_seconds: 15,
            max_wait_seconds: 3600,
            silence_seconds: SilenceSeconds::default(),
            max_attempts: 3,
            keep_generations: 3,
            root_password_hash: None,
            pack_threads: 0,
            manager: ServiceManager::default(),
        }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not readable.
    #[error("cannot read `{}`; `imgctl-coordinator init` writes one", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, a wrong type.
    #[error("`{}` can't be used", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value that can't work.
    #[error("`{}`: {key} {why}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Config {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let parsed: Result<Self, _> = toml::from_str(&text);
        let config = parsed.map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        config.check().map_err(|(key, why)| ConfigError::Value { path: path.to_owned(), key, why })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !self.install_dir.is_absolute() {
            return Err(("install_dir", "must be an absolute path"));
        }
        if !self.state_dir.is_absolute() {
            return Err(("state_dir", "must be an absolute path"));
        }
        if !self.install_source.is_empty() && !self.install_source.contains(":/") {
            return Err(("install_source", "must be what a node mounts, HOST:/PATH"));
        }
        if !(2..=3600).contains(&self.lease_seconds) {
            return Err(("lease_seconds", "must be from 2 to 3600"));
        }
        if !(1..=5).contains(&self.max_attempts) {
            return Err(("max_attempts", "must be from 1 to 5"));
        }
        if self.keep_generations == 0 {
            return Err(("keep_generations", "must be at least 1"));
        }
        if self.root_password_hash.as_ref().is_some_and(|hash| !hash.starts_with('$') || hash.contains([':', '\n'])) {
            return Err(("root_password_hash", "must be a crypt(5) hash such as `openssl passwd -6` prints"));
        }
        Ok(())
    }

    /// How long an agent may be silent.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }

    /// When an agent's attempts are taken from it: a cut that lasts for as long as the lease leaves it a quarter of that
    /// to come back in.
    pub fn patience(&self) -> Duration {
        self.lease() * 5 / 4
    }

    /// Keys and certificates.
    pub fn pki_dir(&self) -> PathBuf {
        self.state_dir.join("pki")
    }

    /// The embedded store.
    pub fn store_dir(&self) -> PathBuf {
        self.state_dir.join("db")
    }

    /// Build plans, one file per digest.
    pub fn plans_dir(&self) -> PathBuf {
        self.state_dir.join("plans")
    }

    /// Logs, one folder per build.
    pub fn logs_dir(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    /// Every change made through the API.
    pub fn audit_log(&self) -> PathBuf {
        self.state_dir.join("audit.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_has_every_key_with_its_default() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/coordinator.toml");
        let text = fs::read_to_string(&shipped).unwrap();
        let loaded = toml::to_string(&Config::load(&shipped).unwrap()).unwrap();
        assert_eq!(loaded, toml::to_string(&Config::default()).unwrap());
        let keys = loaded.lines().filter_map(|line| line.split_once(" =")).map(|(key, _)| key);
        for key in keys.chain(["root_password_hash"]) {
            assert!(text.contains(&format!("{key} =")), "{key}");
        }
    }

    #[test]
    fn an_unknown_key_and_a_bad_value_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        for (text, expected) in [
            ("listn = \"0.0.0.0:1\"", "unknown field `listn`"),
            ("lease_seconds = 1", "lease_seconds must be from 2"),
            ("install_dir = \"install\"", "absolute path"),
            ("root_password_hash = \"secret\"", "crypt(5)"),
            ("install_source = \"/install\"", "HOST:/PATH"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Config::load(&path).unwrap_err();
            let whole = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(whole.contains(expected), "{whole}");
        }
    }
}
