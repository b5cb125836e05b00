//! `imgctl-coordinator init` and `issue`: keys, certificates and a first configuration.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::name::UserName;
use model::role::Role;
use proto::tls::TlsError;

use crate::args::InitArgs;
use crate::config::{Config, ConfigError};
use crate::pki::{Authority, PkiError, SERVER_DIR, USER_LIFE};

/// Why `init` or `issue` can't do it.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Keys and certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Files of identities.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A folder or file.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is an identity already.
    #[error("there is already an identity in `{}`; name another folder, or remove it first", .0.display())]
    Exists(PathBuf),
    /// No home folder to put the admin's identity in.
    #[error("HOME is not set; give --admin-dir")]
    NoHome,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The configuration.
    pub config: PathBuf,
    /// The admin's folder.
    pub admin_dir: PathBuf,
    /// The configuration was there before, and stays as it is whatever was asked for now.
    pub config_kept: bool,
    /// The CA's fingerprint.
    pub fingerprint: String,
}

/// Makes what a coordinator needs to start; what is there is kept.
pub fn init(args: InitArgs, home: Option<PathBuf>) -> Result<Made, InitError> {
    let admin_dir = args.admin_dir.or(home.map(|home| home.join(".config/imgctl"))).ok_or(InitError::NoHome)?;
    let config_kept = args.config.exists();
    if !config_kept {
        let config = Config {
            listen: args.listen,
            state_dir: args.state_dir,
            install_dir: args.install_dir,
            ..Config::default()
        };
        write_config(&args.config, &config)?;
    }
    let config = Config::load(&args.config)?;
    for dir in [&config.state_dir, &config.install_dir] {
        fs::create_dir_all(dir).map_err(|source| InitError::Write { path: dir.clone(), source })?;
    }
    let authority = Authority::create_or_load(&config.pki_dir())?;
    authority.issue_server(&args.name)?.store(&config.pki_dir().join(SERVER_DIR))?;
    if !admin_dir.join("identity/cert.pem").exists() {
        let identity = authority.issue_user("admin", Role::Admin, USER_LIFE)?;
        identity.store(&admin_dir.join("identity"))?;
    }
    write_cli_config(&admin_dir, &config)?;
    Ok(Made { config: args.config, config_kept, admin_dir, fingerprint: authority.fingerprint() })
}

/// Makes an identity for a person.
pub fn issue(config: &Path, name: &UserName, role: Role, out: &Path, days: u32) -> Result<(), InitError> {
    let config = Config::load(config)?;
    if out.join("cert.pem").exists() {
        return Err(InitError::Exists(out.to_owned()));
    }
    let authority = Authority::load(&config.pki_dir())?;
    let life = Duration::from_secs(u64::from(days) * 86400);
    authority.issue_user(name.as_str(), role, life)?.store(out)?;
    write_new(&out.join("config.toml"), &format!("coordinator = \"{}\"\n", address_for_others(&config)))
}

/// Where a person on another machine finds the coordinator.
fn address_for_others(config: &Config) -> String {
    let port = config.listen.port();
    let own_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match config.listen.ip() {
        ip if !ip.is_unspecified() => config.listen.to_string(),
        _ if own_name.trim().is_empty() => format!("localhost:{port}"),
        _ => format!("{}:{port}", own_name.trim()),
    }
}

fn write_config(path: &Path, config: &Config) -> Result<(), InitError> {
    let text = toml::to_string(config).expect("the configuration is made of plain values");
    write_new(
        path,
        &format!(
            "# imgctl coordinator; every key is explained in /usr/share/doc/imgctl-coordinator/examples/coordinator.toml (of the source: deploy/config)\n{text}"
        ),
    )
}

fn write_cli_config(dir: &Path, config: &Config) -> Result<(), InitError> {
    let path = dir.join("config.toml");
    if path.exists() {
        return Ok(());
    }
    let host =
        if config.listen.ip().is_unspecified() { "localhost".to_owned() } else { config.listen.ip().to_string() };
    let identity = dir.join("identity");
    let text =
        format!("coordinator = \"{host}:{}\"\nidentity = {:?}\n", config.listen.port(), identity.display().to_string());
    write_new(&path, &text)
}

fn write_new(path: &Path, text: &str) -> Result<(), InitError> {
    let failed = |source| InitError::Write { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
