//! `imgctl-agent join`: a key made here, a certificate from the coordinator, and nothing on disk before both are.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::tls::{self, Identity, NewKey, TlsError};
use proto::v1;
use proto::v1::enrolment_client::EnrolmentClient;
use tonic::{Code, Status};

use crate::args::Join;
use crate::config::{Config, ConfigError, DEFAULT_PATH};

/// How long the coordinator may take to sign.
const ANSWER: Duration = Duration::from_secs(30);

/// Why this node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The configuration that says where the identity goes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address or the fingerprint is no such thing.
    #[error("{0}")]
    Usage(String),
    /// There is an identity already.
    #[error("this node has joined already: `{path}` holds an identity; remove it to join again", path = .0.display())]
    Joined(PathBuf),
    /// No connection.
    #[error("cannot reach the coordinator at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The coordinator is not the one that the fingerprint names.
    #[error(
        "the coordinator at {0} does not have the CA of that fingerprint; compare --ca-fingerprint with what came with the token"
    )]
    WrongCoordinator(String),
    /// The coordinator said no.
    #[error("the coordinator refused: {0}")]
    Refused(String),
    /// It joined, but a file can't be written that says where.
    #[error("it has joined, but `{}` can't be written; write coordinator = \"HOST:PORT\" to the agent's configuration", path.display())]
    FirstConfig {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The identity can't be made or kept.
    #[error("cannot keep the identity")]
    Identity(#[source] TlsError),
}

impl JoinError {
    /// The exit status (DESIGN.md, Errors).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Refused(_) | Self::WrongCoordinator(_) | Self::Joined(_) => 3,
            Self::Unreachable { .. } => 4,
            Self::Identity(_) | Self::FirstConfig { .. } => 1,
        }
    }
}

/// A node that joined.
#[derive(Debug)]
pub struct Joined {
    /// As what.
    pub name: String,
    /// The folder of the identity.
    pub folder: PathBuf,
    /// What the configuration names as the coordinator, if that is not the one that was joined.
    pub elsewhere: Option<String>,
}

/// Joins.
pub async fn join(args: &Join) -> Result<Joined, JoinError> {
    let (path, config) = configuration(args)?;
    let folder = args.identity.clone().unwrap_or_else(|| config.identity());
    if folder.join("cert.pem").exists() {
        return Err(JoinError::Joined(folder));
    }
    let name = args.name.clone().or(config.name.clone()).unwrap_or_else(host_name);
    let key = NewKey::generate(&name).map_err(JoinError::Identity)?;
    let channel = tls::connect_by_fingerprint(&args.coordinator, &args.ca_fingerprint).await;
    let channel = channel.map_err(|error| unconnected(&args.coordinator, error))?;
    let request = v1::JoinRequest {
        token: args.token.clone(),
        agent: name.clone(),
        signing_request_pem: key.signing_request_pem.clone(),
    };
    let mut client = EnrolmentClient::new(channel);
    let answer = tokio::time::timeout(ANSWER, client.join(request)).await;
    let late = || Status::deadline_exceeded(format!("no answer within {} s", ANSWER.as_secs()));
    let answer = answer.unwrap_or_else(|_| Err(late())).map_err(|status| refused(&args.coordinator, &status))?;
    let answer = answer.into_inner();
    let identity = Identity::new(answer.certificate_pem, key.key_pem, answer.ca_pem);
    identity.store(&folder).map_err(JoinError::Identity)?;
    let unwritten = |path| move |source| JoinError::FirstConfig { path, source };
    Config::note_joined(&folder, &args.coordinator).map_err(unwritten(folder.join("coordinator")))?;
    if !path.exists() && args.identity.is_none() {
        write_first(&path, &args.coordinator, &name).map_err(unwritten(path))?;
    }
    let elsewhere = (config.coordinator != args.coordinator).then_some(config.coordinator);
    Ok(Joined { name, folder, elsewhere })
}

/// The configuration file with what it says, or what a first one will say.
fn configuration(args: &Join) -> Result<(PathBuf, Config), JoinError> {
    let path = args.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH));
    let config = if path.exists() {
        Config::load_to_join(&path, &args.coordinator)?
    } else {
        Config::new(args.coordinator.clone(), "/var/lib/imgctl-agent")
    };
    Ok((path, config))
}

/// So that `imgctl-agent run` can follow at once on a node that has no configuration yet.
fn write_first(path: &Path, coordinator: &str, name: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let text = format!(
        "# imgctl agent; every key stands in deploy/config/agent.toml\ncoordinator = {coordinator:?}\nname = {name:?}\nstate_dir = \"/var/lib/imgctl-agent\"\n"
    );
    File::create_new(path)?.write_all(text.as_bytes())
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn unconnected(address: &str, error: TlsError) -> JoinError {
    match &error {
        TlsError::Fingerprint(_) | TlsError::Address(_) => JoinError::Usage(error.to_string()),
        TlsError::Connect { source, .. } => {
            let reason = crate::build::failure::chain(source);
            // rustls' words for a chain in which the pinned CA is not.
            if reason.contains("UnknownIssuer") || reason.contains("invalid peer certificate") {
                return JoinError::WrongCoordinator(address.to_owned());
            }
            let reason = reason.rsplit(": ").next().unwrap_or(&reason).to_owned();
            JoinError::Unreachable { address: address.to_owned(), reason }
        }
        _ => JoinError::Identity(error),
    }
}

fn refused(address: &str, status: &tonic::Status) -> JoinError {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::DeadlineExceeded => {
            JoinError::Unreachable { address: address.to_owned(), reason: status.message().to_owned() }
        }
        _ => JoinError::Refused(status.message().to_owned()),
    }
}
