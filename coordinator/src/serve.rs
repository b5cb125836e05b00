//! The daemon: builds its parts, starts its tasks, ends when one of them ends.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::tls::net::Listen;
use proto::tls::{Identity, TlsError, server};
use proto::v1;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::api::Services;
use crate::api::auth::Auth;
use crate::audit::Audit;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::logs::Logs;
use crate::osimage::{Indexes, Site};
use crate::pki::{Authority, PkiError, SERVER_DIR};
use crate::plans::Plans;
use crate::proof;
use crate::scheduler::{Desk, Parts};
use crate::staging;
use crate::store::{Store, StoreError};

/// How long receiving and packing may take to come to a safe end after the daemon was told to stop; under the limit
/// of its unit.
const DESK_GRACE: Duration = Duration::from_secs(25);
/// How long open calls may go on after that: streams of watchers and agents never end by themselves.
const CALL_GRACE: Duration = Duration::from_secs(2);
/// Tells a dead connection from an idle one, well within the usual lease.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// HTTP/2 windows that keep a link of 1 Gbit/s and 30 ms busy.
const WINDOW: u32 = 4 << 20;
/// A chunk of an upload in one frame, not in sixteen.
const FRAME: u32 = 512 << 10;

/// Why the daemon can't run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A state folder can't be used.
    #[error("cannot use `{}`", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state folder isn't there.
    #[error("there is no state folder `{}`; is it the right configuration file? `imgctl-coordinator init` makes one", .0.display())]
    NoState(PathBuf),
    /// Another coordinator has it.
    #[error("another coordinator runs on `{}`", .0.display())]
    Running(PathBuf),
    /// The CA.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The coordinator's own certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task of the daemon's own panicked.
    #[error("a part of the coordinator failed; its log says more")]
    Part(#[from] JoinError),
    /// The port.
    #[error("the server failed")]
    Server(#[source] tonic::transport::Error),
}

/// Serves until `stop`. The listener is passed in, so that callers choose the port; `ready` is called when everything is
/// open that calls need.
pub async fn run(
    config: Config,
    listener: impl Listen,
    ready: impl FnOnce(),
    stop: CancellationToken,
) -> Result<(), ServeError> {
    if !config.state_dir.is_dir() {
        return Err(ServeError::NoState(config.state_dir));
    }
    let _lock = lock(&config)?;
    let store = Store::open(&config.store_dir())?;
    serve_when(config, store, listener, ready, stop).await
}

/// [`run`] on a store that is open already, as [`Store::open`] gives it, and with nobody else on it.
pub async fn serve(
    config: Config,
    store: (Store, oneshot::Receiver<StoreError>),
    listener: impl Listen,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    serve_when(config, store, listener, || {}, stop).await
}

async fn serve_when(
    config: Config,
    (store, store_failed): (Store, oneshot::Receiver<StoreError>),
    listener: impl Listen,
    ready: impl FnOnce(),
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let config = Arc::new(config);
    let at = |path: PathBuf| move |source| ServeError::State { path, source };
    keep_private(&config.state_dir).map_err(at(config.state_dir.clone()))?;
    staging::prepare(&config.install_dir).map_err(at(config.install_dir.clone()))?;
    let authority = Arc::new(Authority::load(&config.pki_dir())?);
    let identity = Identity::load(&config.pki_dir().join(SERVER_DIR))?;
    let logs = Arc::new(Logs::open(&config.logs_dir()).map_err(at(config.logs_dir()))?);
    let plans = Plans::open(&config.plans_dir()).map_err(at(config.plans_dir()))?;
    let audit = Arc::new(Audit::open(&config.audit_log()).map_err(at(config.audit_log()))?);
    sweep_staging(&config, &store).await?;
    let offer = offer(&config).await?;
    let parts = Parts { config: config.clone(), store: store.clone(), logs: logs.clone(), plans: plans.clone() };
    let (desk, scheduler) = Desk::new(parts)?;
    let site = Site { install_dir: config.install_dir.clone(), indexes: Some(Indexes::default()) };
    let catalogue = Catalogue::new(store.clone(), site);
    let auth = Auth::new(store.clone());
    let services = Services { config, offer, authority, store, logs, plans, catalogue, scheduler, audit };
    let (incoming, accepting) = server::incoming(listener, server::config(&identity)?);
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 2)
        .max_frame_size(Some(FRAME))
        .layer(auth)
        .add_routes(services.routes())
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    ready();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { served.await.map_err(ServeError::Server) });
    tasks.spawn(async move {
        accepting.await;
        Ok(())
    });
    tasks.spawn(async move {
        match store_failed.await {
            Ok(error) => Err(error.into()),
            // The writer's thread ends by itself only after everything else.
            Err(_) => std::future::pending().await,
        }
    });
    let mut desk = tokio::spawn(desk.run(stop.clone()));
    // Whichever ends first ends the daemon; the others are told and given their time.
    let (ended, desk_ended) = tokio::select! {
        ended = tasks.join_next() => (ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|error| Err(error.into())), false),
        ended = &mut desk => (desk_result(ended), true),
    };
    stop.cancel();
    if !desk_ended && tokio::time::timeout(DESK_GRACE, &mut desk).await.is_err() {
        tracing::warn!("work beside the desk has not ended in time; the next run takes it up");
    }
    // The one that waits for the store to fail never ends by itself.
    let rest = async {
        while tasks.len() > 1 {
            tasks.join_next().await;
        }
    };
    if tokio::time::timeout(CALL_GRACE, rest).await.is_err() {
        tracing::info!("some calls were still open and are cut off");
    }
    ended
}

fn desk_result(ended: Result<Result<(), StoreError>, JoinError>) -> Result<(), ServeError> {
    ended.map_err(ServeError::from)?.map_err(ServeError::from)
}

/// Keys, plans and logs are nobody else's.
fn keep_private(state_dir: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(state_dir, std::fs::Permissions::from_mode(0o700))
}

/// What attempts left that ended while no coordinator ran. Before the desk gives out new ones.
async fn sweep_staging(config: &Config, store: &Store) -> Result<(), ServeError> {
    let attempts = store.active_builds()?.into_iter().flat_map(|build| build.attempts);
    let known: BTreeSet<PathBuf> = attempts.map(|record| record.staging).collect();
    let install_dir = config.install_dir.clone();
    let swept = tokio::task::spawn_blocking(move || staging::sweep(&install_dir, &known)).await;
    let swept = swept.map_err(std::io::Error::other).and_then(|swept| swept);
    swept.map_err(|source| ServeError::State { path: config.install_dir.clone(), source })
}

/// How agents get at the install root of this coordinator.
async fn offer(config: &Config) -> Result<v1::InstallOffer, ServeError> {
    let install_dir = config.install_dir.clone();
    let made = tokio::task::spawn_blocking(move || proof::renew(&install_dir)).await;
    let made = made.map_err(std::io::Error::other).and_then(|made| made);
    let made = made.map_err(|source| ServeError::State { path: config.install_dir.clone(), source })?;
    Ok(v1::InstallOffer {
        source: config.install_source.clone(),
        options: config.install_options.clone(),
        proof: made.to_string_lossy().into_owned(),
    })
}

/// One coordinator per state folder: two on one store would ruin it.
pub(crate) fn lock(config: &Config) -> Result<std::fs::File, ServeError> {
    let path = config.state_dir.join("lock");
    let at = |source| ServeError::State { path: config.state_dir.clone(), source };
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(at)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServeError::Running(config.state_dir.clone())),
        Err(error) => Err(at(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        keep_private(dir.path()).unwrap();
        assert_eq!(dir.path().metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    }
}
