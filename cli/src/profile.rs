//! Which coordinator, and with which identity: flags before environment before the configuration file.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::failure::Failure;

/// Where to go and who to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `HOST:PORT`.
    pub coordinator: String,
    /// The folder with `cert.pem`, `key.pem` and `ca.pem`.
    pub identity: PathBuf,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    coordinator: Option<String>,
    identity: Option<String>,
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--coordinator`.
    pub coordinator: Option<String>,
    /// `--identity`.
    pub identity: Option<PathBuf>,
}

/// Settles the profile.
pub fn load(flags: &Flags, env: &dyn Fn(&str) -> Option<String>) -> Result<Profile, Failure> {
    let variable = |name: &str| env(name).filter(|value| !value.is_empty());
    let home = variable("HOME").map(PathBuf::from);
    let folder = home.as_ref().map(|home| home.join(".config/imgctl"));
    let named = flags.config.clone().or_else(|| variable("IMGCTL_CONFIG").map(PathBuf::from));
    let file = match (&named, &folder) {
        (Some(path), _) => read(path, true)?,
        (None, Some(folder)) => read(&folder.join("config.toml"), false)?,
        (None, None) => ConfigFile::default(),
    };
    let coordinator = flags.coordinator.clone().or_else(|| variable("IMGCTL_COORDINATOR")).or(file.coordinator);
    let coordinator = coordinator.ok_or_else(no_coordinator)?;
    if coordinator.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
        return Err(Failure::usage(format!("`{coordinator}` is not an address; it is written as HOST:PORT")));
    }
    let identity = flags.identity.clone().or_else(|| variable("IMGCTL_IDENTITY").map(PathBuf::from));
    let identity = identity.or_else(|| file.identity.map(|text| expand_home(&text, home.as_deref())));
    let identity = identity.or_else(|| folder.map(|folder| folder.join("identity")));
    let identity = identity.ok_or_else(|| Failure::usage("no identity is configured; give --identity DIR"))?;
    Ok(Profile { coordinator, identity })
}

fn no_coordinator() -> Failure {
    Failure::usage("no coordinator is configured").hint(
        "give --coordinator HOST:PORT, set IMGCTL_COORDINATOR, or write coordinator = \"HOST:PORT\" to ~/.config/imgctl/config.toml",
    )
}

fn read(path: &Path, must_exist: bool) -> Result<ConfigFile, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).map_err(|why| Failure::usage(format!("`{}` is not valid: {why}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(ConfigFile::default()),
        Err(error) => Err(Failure::usage(format!("cannot read the configuration `{}`: {error}", path.display()))),
    }
}

fn parse(text: &str) -> Result<ConfigFile, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

fn expand_home(text: &str, home: Option<&Path>) -> PathBuf {
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "coordinator = \"file:1\"\nidentity = \"~/id\"\n").unwrap();
        let config = path.to_str().unwrap();
        let mut flags = Flags::default();
        let file = load(&flags, &env(&[("IMGCTL_CONFIG", config), ("HOME", "/home/ann")])).unwrap();
        assert_eq!(file, Profile { coordinator: "file:1".into(), identity: "/home/ann/id".into() });
        let both = [("IMGCTL_CONFIG", config), ("IMGCTL_COORDINATOR", "env:2"), ("IMGCTL_IDENTITY", "/env")];
        let by_env = load(&flags, &env(&both)).unwrap();
        assert_eq!(by_env, Profile { coordinator: "env:2".into(), identity: "/env".into() });
        flags.coordinator = Some("flag:3".into());
        assert_eq!(load(&flags, &env(&both)).unwrap().coordinator, "flag:3");
    }

    #[test]
    fn a_misspelt_key_and_a_missing_port_are_usage_errors() {
        assert!(parse("cordinator = \"a:1\"").unwrap_err().contains("cordinator"));
        for address in ["mn", "mn:", ":1", "mn:x"] {
            let flags = Flags { coordinator: Some(address.into()), identity: Some("/i".into()), ..Flags::default() };
            assert_eq!(load(&flags, &env(&[])).unwrap_err().exit, crate::failure::Exit::Usage, "{address}");
        }
        let none = load(&Flags::default(), &env(&[("HOME", "/nonexistent")])).unwrap_err();
        assert!(none.hint.unwrap().contains("IMGCTL_COORDINATOR"));
    }
}
