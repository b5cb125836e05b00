//! How a command ends when it can't do what it was asked: one sentence, a hint, an exit code.
//!
//! This is the one map from what the wire says (statuses, transport and TLS errors) to words. With TLS 1.3 a
//! coordinator refuses a client certificate only after the handshake, so that refusal shows at the first call,
//! as an alert deep in the sources of an `Unknown` status, and h2 keeps no more than its text; it is found there.

use std::error::Error;
use std::io;

use proto::tls::TlsError;
use rustls::{AlertDescription, CertificateError};
use tonic::{Code, Status};

/// The exit code of the program (DESIGN.md, Errors).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All that was asked for is done.
    Done = 0,
    /// A build failed or was cancelled.
    BuildFailed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The coordinator refused, or there is no such thing.
    Refused = 3,
    /// The coordinator can't be reached.
    Unreachable = 4,
    /// Ctrl-C left a build running.
    Detached = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        // The discriminants are the codes, and all of them fit.
        Self::from(exit as u8)
    }
}

/// Why a command can't go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code to leave with.
    pub exit: Exit,
    /// What went wrong; none when everything has been said already.
    pub sentence: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Which coordinator was talked to and with what identity, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `HOST:PORT`.
    pub address: String,
    /// The folder of the identity.
    pub identity: String,
}

const NEW_IDENTITY: &str =
    "`imgctl-coordinator init` makes an admin's identity, `imgctl-coordinator issue` any other, on the management node";

/// The alerts by which a coordinator refuses a caller.
const ALERTS: [AlertDescription; 9] = [
    AlertDescription::CertificateExpired,
    AlertDescription::UnknownCA,
    AlertDescription::DecryptError,
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::AccessDenied,
    AlertDescription::ProtocolVersion,
];

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: Some(sentence.into()), hint: None }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// The coordinator refused, or we did on the user's behalf.
    pub fn refused(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Refused, sentence)
    }

    /// Everything has been said already.
    pub fn told(exit: Exit) -> Self {
        Self { exit, sentence: None, hint: None }
    }

    /// The same failure with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The coordinator's answer, or the lack of one.
    pub fn of_status(status: &Status, endpoint: &Endpoint) -> Self {
        of_sources(status, endpoint).unwrap_or_else(|| of_code(status, endpoint))
    }

    /// A connection that could not be made.
    pub fn of_tls(error: &TlsError, endpoint: &Endpoint) -> Self {
        let dir = &endpoint.identity;
        match error {
            TlsError::File { source, path, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::refused(format!("no identity at `{dir}`: there is no `{}`", path.display()))
                    .hint(format!("{NEW_IDENTITY}; name another folder with --identity"))
            }
            TlsError::Address(_) => Self::usage(error.to_string()),
            TlsError::Connect { address, source } => of_sources(source, endpoint).unwrap_or_else(|| {
                let why = chain(source).last().map(ToString::to_string).unwrap_or_default();
                Self::new(Exit::Unreachable, format!("cannot reach the coordinator at {address}: {why}"))
            }),
            other => {
                let why: Vec<String> = chain(other).map(ToString::to_string).collect();
                Self::refused(format!("the identity at `{dir}` can't be used: {}", why.join(": "))).hint(NEW_IDENTITY)
            }
        }
    }
}

/// Writing to standard output failed: if nobody reads it any more, that is not our failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::told(Exit::Done),
            _ => Self::usage(format!("cannot write the output: {error}")),
        }
    }
}

/// Whether the connection broke, so that the same call may work in a moment: nothing that the coordinator itself
/// decided looks like this.
pub fn is_broken_connection(status: &Status) -> bool {
    match tls_cause(status) {
        Some(_) => false,
        None => match status.code() {
            Code::Unavailable | Code::Unknown => true,
            Code::Internal | Code::Cancelled | Code::DeadlineExceeded => status.source().is_some(),
            _ => false,
        },
    }
}

fn of_sources(error: &(dyn Error + 'static), endpoint: &Endpoint) -> Option<Failure> {
    match tls_cause(error) {
        Some(tls) => Some(of_rustls(&tls, endpoint)),
        None => chain(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(|error| of_io(error, endpoint)),
    }
}

fn of_io(error: &io::Error, endpoint: &Endpoint) -> Failure {
    let address = &endpoint.address;
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer within 5 s".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the connection was cut".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection was closed in mid-sentence".to_owned(),
        _ => error.to_string(),
    };
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => "is the coordinator running there? `systemctl status imgctl-coordinator`",
        io::ErrorKind::TimedOut => "check the address, the route to it and the firewall of the management node",
        _ => "check the address (--coordinator HOST:PORT, or `coordinator` in the configuration)",
    };
    Failure::new(Exit::Unreachable, format!("cannot reach the coordinator at {address}: {why}")).hint(hint)
}

fn of_rustls(error: &rustls::Error, endpoint: &Endpoint) -> Failure {
    let Endpoint { address, identity } = endpoint;
    let (sentence, hint) = match error {
        rustls::Error::AlertReceived(alert) => return of_alert(*alert, endpoint),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => (
            format!("the coordinator at {address} has a certificate of another CA than `{identity}/ca.pem`"),
            "is this the right coordinator for this identity? The site may have made a new CA; then get a new identity",
        ),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => (
            format!("the certificate of the coordinator at {address} has expired"),
            "check the clocks of both machines",
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => (
            format!("the certificate of the coordinator at {address} is not valid yet"),
            "check the clocks of both machines",
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => (format!("what answers at {address} is not an imgctl coordinator"), "check the address"),
        rustls::Error::InvalidMessage(_) => {
            (format!("what answers at {address} doesn't speak TLS"), "check the port: it may be another service's")
        }
        other => (format!("no secure connection to the coordinator at {address}: {other}"), NEW_IDENTITY),
    };
    Failure::new(Exit::Unreachable, sentence).hint(hint)
}

fn of_alert(alert: AlertDescription, endpoint: &Endpoint) -> Failure {
    let Endpoint { address, identity } = endpoint;
    let why = match alert {
        AlertDescription::CertificateExpired => format!("says that the certificate in `{identity}` has expired"),
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            format!("can't verify the certificate in `{identity}`: another CA signed it")
        }
        AlertDescription::CertificateRequired => "takes no callers without a certificate".to_owned(),
        AlertDescription::BadCertificate | AlertDescription::UnsupportedCertificate => {
            format!("can't accept the certificate in `{identity}`")
        }
        AlertDescription::CertificateRevoked | AlertDescription::AccessDenied => {
            format!("no longer lets in the certificate in `{identity}`")
        }
        AlertDescription::ProtocolVersion => "speaks no TLS 1.3".to_owned(),
        other => format!("ended the TLS handshake with the alert {other:?}"),
    };
    Failure::refused(format!("the coordinator at {address} {why}")).hint(NEW_IDENTITY)
}

fn of_code(status: &Status, endpoint: &Endpoint) -> Failure {
    let address = &endpoint.address;
    let message = status.message();
    match status.code() {
        Code::InvalidArgument | Code::OutOfRange => Failure::usage(message),
        Code::Unavailable | Code::DeadlineExceeded => {
            Failure::new(Exit::Unreachable, format!("the coordinator at {address} doesn't answer: {message}"))
                .hint("try again in a moment; `systemctl status imgctl-coordinator` on the management node says more")
        }
        Code::Unknown | Code::Cancelled => {
            Failure::new(Exit::Unreachable, format!("the connection to the coordinator at {address} broke: {message}"))
        }
        Code::Unauthenticated => Failure::refused(message).hint(NEW_IDENTITY),
        Code::PermissionDenied => Failure::refused(message)
            .hint("`openssl x509 -noout -subject -in cert.pem` shows the role of an identity as OU"),
        Code::Unimplemented => {
            Failure::refused(format!("the coordinator at {address} doesn't know this request: {message}"))
                .hint("are it and this imgctl of the same version?")
        }
        Code::Internal | Code::DataLoss => Failure::refused(format!("the coordinator failed: {message}"))
            .hint("its own log says why: `journalctl -u imgctl-coordinator`"),
        _ => Failure::refused(message),
    }
}

/// The TLS error in the sources of `error`, whole or by its text.
fn tls_cause(error: &(dyn Error + 'static)) -> Option<rustls::Error> {
    chain(error).find_map(|cause| match cause.downcast_ref::<rustls::Error>() {
        Some(tls) => Some(tls.clone()),
        None => alert_in_text(&cause.to_string()).map(rustls::Error::AlertReceived),
    })
}

fn alert_in_text(text: &str) -> Option<AlertDescription> {
    let alerts = ALERTS.iter().map(|alert| (rustls::Error::AlertReceived(*alert).to_string(), alert));
    alerts.into_iter().find(|(words, _)| text.contains(words)).map(|(_, alert)| *alert)
}

/// An error with its sources. An `io::Error` that wraps another names that one's source as its own and would
/// hide the wrapped one, so that one is visited as well.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests;
