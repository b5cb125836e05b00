//! `imgctl-agent join`: a key made here, a certificate from the coordinator, and nothing on disk before both are.

use std::path::PathBuf;

use proto::tls::{self, Identity, NewKey, TlsError};
use proto::v1;
use proto::v1::enrolment_client::EnrolmentClient;
use tonic::Code;

use crate::args::Join;
use crate::config::{Config, ConfigError, DEFAULT_PATH};

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
            Self::Identity(_) => 1,
        }
    }
}

/// Joins; gives the name and the folder of the identity.
pub async fn join(args: &Join) -> Result<(String, PathBuf), JoinError> {
    let folder = identity_folder(args)?;
    if folder.join("cert.pem").exists() {
        return Err(JoinError::Joined(folder));
    }
    let name = args.name.clone().unwrap_or_else(host_name);
    let key = NewKey::generate(&name).map_err(JoinError::Identity)?;
    let channel = tls::connect_by_fingerprint(&args.coordinator, &args.ca_fingerprint).await;
    let channel = channel.map_err(|error| unconnected(&args.coordinator, error))?;
    let request = v1::JoinRequest {
        token: args.token.clone(),
        agent: name.clone(),
        signing_request_pem: key.signing_request_pem.clone(),
    };
    let answer =
        EnrolmentClient::new(channel).join(request).await.map_err(|status| refused(&args.coordinator, &status))?;
    let answer = answer.into_inner();
    let identity = Identity::new(answer.certificate_pem, key.key_pem, answer.ca_pem);
    identity.store(&folder).map_err(JoinError::Identity)?;
    Ok((name, folder))
}

fn identity_folder(args: &Join) -> Result<PathBuf, JoinError> {
    if let Some(folder) = &args.identity {
        return Ok(folder.clone());
    }
    let default = PathBuf::from(DEFAULT_PATH);
    match args.config.clone().or_else(|| default.exists().then_some(default)) {
        Some(path) => Ok(Config::load(&path)?.identity()),
        None => Ok(Config::new(args.coordinator.clone(), "/var/lib/imgctl-agent").identity()),
    }
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
