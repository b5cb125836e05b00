//! Who may call what: one table of every RPC, checked before any handler runs.
//!
//! The caller is read from the certificate of the connection. What is not in the table can't be called.

use std::task::{Context, Poll};

use http::{Request, Response};
use model::role::{Caller, Permission, Role};
use proto::tls::peer::{self, Peer};
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::chain::chain;
use crate::store::Store;

/// Every RPC with what it asks of its caller.
pub const PERMISSIONS: [(&str, Permission); 34] = [
    ("/imgctl.v1.Enrolment/Join", Permission::Anyone),
    ("/imgctl.v1.Sessions/Open", Permission::Agent),
    ("/imgctl.v1.Sessions/FetchPlan", Permission::Agent),
    ("/imgctl.v1.Sessions/FetchTree", Permission::Agent),
    ("/imgctl.v1.Sessions/PushLog", Permission::Agent),
    ("/imgctl.v1.Sessions/Upload", Permission::Agent),
    ("/imgctl.v1.Agents/List", Permission::View),
    ("/imgctl.v1.Agents/Get", Permission::View),
    ("/imgctl.v1.Agents/CreateToken", Permission::Administer),
    ("/imgctl.v1.Agents/Drain", Permission::Operate),
    ("/imgctl.v1.Agents/Undrain", Permission::Operate),
    ("/imgctl.v1.Agents/Remove", Permission::Administer),
    ("/imgctl.v1.Builds/Submit", Permission::Operate),
    ("/imgctl.v1.Builds/List", Permission::View),
    ("/imgctl.v1.Builds/Get", Permission::View),
    ("/imgctl.v1.Builds/Watch", Permission::View),
    ("/imgctl.v1.Builds/Logs", Permission::View),
    ("/imgctl.v1.Builds/Cancel", Permission::Operate),
    ("/imgctl.v1.Builds/Retry", Permission::Operate),
    ("/imgctl.v1.Builds/Explain", Permission::View),
    ("/imgctl.v1.Generations/List", Permission::View),
    ("/imgctl.v1.Generations/Get", Permission::View),
    ("/imgctl.v1.Generations/Diff", Permission::View),
    ("/imgctl.v1.Generations/Activate", Permission::Operate),
    ("/imgctl.v1.Osimages/List", Permission::View),
    ("/imgctl.v1.Osimages/Get", Permission::View),
    ("/imgctl.v1.Osimages/Create", Permission::Operate),
    ("/imgctl.v1.Osimages/Set", Permission::Operate),
    ("/imgctl.v1.Osimages/Remove", Permission::Operate),
    ("/imgctl.v1.Osimages/Rename", Permission::Operate),
    ("/imgctl.v1.Osimages/Copy", Permission::Operate),
    ("/imgctl.v1.Osimages/Import", Permission::Operate),
    ("/imgctl.v1.Osimages/Export", Permission::View),
    ("/imgctl.v1.Osimages/Resolve", Permission::View),
];

/// The check as a layer around all services.
#[derive(Debug, Clone)]
pub struct Auth {
    store: Store,
}

impl Auth {
    /// Agents are looked up in the store: one that was removed is refused whatever its certificate says.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    fn admit(&self, path: &str, peer: Option<Peer>) -> Result<Option<Peer>, Status> {
        let permission = PERMISSIONS.iter().find(|(rpc, _)| *rpc == path).map(|(_, permission)| *permission);
        let permission = permission.ok_or_else(|| Status::unimplemented(format!("there is no call `{path}`")))?;
        let role = peer.as_ref().map(|peer| peer.caller.role);
        if !permission.allows(role) {
            return Err(refusal(permission, peer));
        }
        let Some(peer) = peer else { return Ok(None) };
        if peer.caller.role == Role::Agent {
            must_be_joined(&self.store, peer.caller.name.as_str(), &peer.fingerprint)?;
        }
        Ok(Some(peer))
    }
}

/// Refuses an agent whose certificate is not, or not any more, the one that it has joined with.
pub fn must_be_joined(store: &Store, agent: &str, fingerprint: &str) -> Result<(), Status> {
    // An agent that hears that it was removed drops its work, so a store that can't be read must not say that.
    let unread = |error| {
        tracing::error!(agent, error = chain(&error), "the record of an agent can't be read");
        Status::unavailable("the store can't be read; the coordinator's log says more")
    };
    let record = agent.parse().ok().map(|name| store.agent(&name)).transpose().map_err(unread)?;
    match record.flatten() {
        Some(record) if record.certificate_sha256 == fingerprint => Ok(()),
        Some(_) => Err(Status::permission_denied(format!("agent {agent} has joined again with another certificate"))),
        None => Err(Status::permission_denied(format!("agent {agent} has not joined, or was removed"))),
    }
}

fn refusal(permission: Permission, peer: Option<Peer>) -> Status {
    match peer {
        Some(peer) => Status::permission_denied(format!(
            "{} may not do this: it needs the role {}",
            peer.caller,
            permission.needs()
        )),
        None => Status::unauthenticated("this call needs a client certificate, and none was shown"),
    }
}

/// sha256 of the caller's certificate, put there by the layer: a stream outlives the check at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(pub String);

/// The caller, put there by the layer.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| Status::unauthenticated("the caller is not known"))
}

impl<S> Layer<S> for Auth {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { auth: self.clone(), inner }
    }
}

/// A service behind the check.
#[derive(Debug, Clone)]
pub struct Checked<S> {
    auth: Auth,
    inner: S,
}

impl<S, B> Service<Request<B>> for Checked<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Send,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match peer_of(&request).and_then(|peer| self.auth.admit(request.uri().path(), peer)) {
            Ok(peer) => {
                if let Some(Peer { caller, fingerprint, .. }) = peer {
                    request.extensions_mut().insert(caller);
                    request.extensions_mut().insert(Fingerprint(fingerprint));
                }
                Box::pin(self.inner.call(request))
            }
            Err(status) => {
                if status.code() != Code::Unauthenticated {
                    tracing::warn!(path = request.uri().path(), reason = status.message(), "refused");
                }
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}

fn peer_of<B>(request: &Request<B>) -> Result<Option<Peer>, Status> {
    let connection = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
    let certificates = connection.and_then(TlsConnectInfo::peer_certs);
    let Some(leaf) = certificates.as_ref().and_then(|chain| chain.first()) else { return Ok(None) };
    peer::read(leaf).map(Some).map_err(|error| Status::unauthenticated(format!("{error}")))
}
