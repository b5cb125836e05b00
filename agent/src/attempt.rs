//! One attempt on this node, from the plan to its last event: fetch, worker, log, publish, clear away.
//!
//! The task of an attempt tells its [`crate::driver`] what happens and decides nothing beyond its own attempt.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::agent::Condition;
use model::id::AttemptId;
use model::plan::BuildPlan;
use model::stage::Stage;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::build::failure::chain;
use crate::config::Config;
use crate::driver::Message;
use crate::event::{Published, What};
use crate::follow::{End, FollowError, follow};
use crate::inspect::Facts;
use crate::install_root::InstallRoot;
use crate::link::Link;
use crate::log_push::{LogPush, Pushing};
use crate::preflight::export::Export;
use crate::preflight::{Seen, Way};
use crate::silence::Budgets;
use crate::spool::{self, LogWriter};
use crate::sys::probe::{ProbeError, probe};
use crate::transfer::{self, TransferError};
use crate::worker::handle::{HandleError, Worker, Workers};
use crate::worker::order::Order;
use crate::worker::report::{Blame, Failure, Line, Product, Report, now_ms};

/// How long the end of its log may hold up an agent that stops; the service manager has little more patience.
const PARTING: Duration = Duration::from_secs(2);
/// How long removing half an archive may hold up the end of its attempt.
const TAKE_BACK: Duration = Duration::from_secs(2);
/// How often something that still dies is asked again to let its folder go.
const CLEAR_TRIES: u32 = 20;

/// Why an attempt can't go on here.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("cannot {doing} `{path}`", path = path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Scratch(#[from] ProbeError),
    #[error("the scratch folder could not be looked at")]
    Probe(#[source] io::Error),
    #[error(transparent)]
    Worker(#[from] HandleError),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Order(#[from] crate::worker::order::OrderError),
}

/// An attempt that the coordinator assigned.
#[derive(Debug)]
pub struct Attempt {
    /// Which.
    pub id: AttemptId,
    /// sha256 of its plan.
    pub plan_digest: String,
    /// Its folder under the install root.
    pub staging: String,
    /// How long its stages may be silent.
    pub silence: Budgets,
    /// How the agent works.
    pub config: Arc<Config>,
    /// About the node.
    pub facts: Arc<Facts>,
    /// What carries out its order.
    pub workers: Workers,
    /// The way to the coordinator.
    pub link: Link,
    /// The MN's install root, as the node gets at it.
    pub root: InstallRoot,
    /// To the driver.
    pub tell: mpsc::Sender<Message>,
    /// Ends it, whatever it does.
    pub cancel: CancellationToken,
    /// Ends the pushing of its log, when the coordinator has the last event.
    pub forget: CancellationToken,
}

impl Attempt {
    /// Carries it out. The last event is told unless the attempt was cancelled; nothing of its tree is left then.
    pub async fn run(self) {
        let last = self.carry_out().await;
        // First told, then cleared: on a disk that discards as it deletes, clearing takes ten seconds, and receiving
        // need not wait for it. The slot does.
        // As below.
        let _ = match last.filter(|_| !self.cancel.is_cancelled()) {
            Some(last) => self.tell.send(Message::Happened(self.id, last)).await,
            None => self.tell.send(Message::Stopped(self.id)).await,
        };
        if let Err(error) = clear(self.scratch()).await {
            tracing::warn!(attempt = %self.id, "{}", chain(&*error));
        }
        // The driver outlives every attempt; if it doesn't, the agent is ending.
        let _ = self.tell.send(Message::Ended(self.id)).await;
    }

    fn scratch(&self) -> PathBuf {
        self.config.scratch().join(self.id.to_string())
    }

    fn spool(&self) -> PathBuf {
        spool::folder(&self.config.spool(), self.id)
    }

    /// Tells the driver what happened.
    pub async fn happened(&self, what: What) {
        // As above.
        let _ = self.tell.send(Message::Happened(self.id, what)).await;
    }

    /// `None` if it was cancelled.
    async fn carry_out(&self) -> Option<What> {
        let folder = self.spool();
        let log = spool::make(&folder).and_then(|()| LogWriter::create(&spool::log(&folder)));
        let (mut log, extent) = match log {
            Ok(log) => log,
            Err(error) => return Some(What::Lost { reason: format!("cannot write to the spool: {error}") }),
        };
        let push = LogPush { attempt: self.id, path: spool::log(&folder), extent, link: self.link.clone() };
        let pushing = push.start(self.forget.clone());
        let mut running = Running::default();
        let outcome = self.cancel.run_until_cancelled(self.build(&mut log, &mut running)).await;
        // Nothing of it may be left when its folder is cleared.
        if let Err(error) = running.end().await {
            tracing::warn!(attempt = %self.id, "{}", chain(&error));
        }
        if let Some(archive) = running.archive.filter(|_| !matches!(outcome, Some(Ok(What::Published(_))))) {
            self.take_back(&archive).await;
        }
        let lines = log.close();
        self.log_arrives(pushing).await;
        let outcome = outcome?.unwrap_or_else(|error| What::Lost { reason: chain(&error) });
        Some(match outcome {
            What::Published(published) => What::Published(Published { log_lines: lines, ..published }),
            other => other,
        })
    }

    /// Half an archive in the staging folder is of no use to anybody. The coordinator removes the folder in the end, and a
    /// server that is gone may be why there is only half of one: so this is not waited for.
    async fn take_back(&self, archive: &Path) {
        let removed = tokio::time::timeout(TAKE_BACK, tokio::fs::remove_file(archive)).await;
        match removed {
            Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(attempt = %self.id, "cannot remove `{}`: {error}", archive.display());
            }
            Err(_) => tracing::warn!(attempt = %self.id, "`{}` can't be removed now", archive.display()),
            Ok(_) => {}
        }
    }

    /// The last event, whoever tells it, waits for the log. An attempt that is dropped has none that anybody waits
    /// for; one that is ended by the agent itself has its last lines on their way.
    async fn log_arrives(&self, pushing: Pushing) {
        let parting = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(PARTING).await;
        };
        let arrived = tokio::select! {
            arrived = pushing.arrived() => arrived,
            () = parting => false,
        };
        if !arrived {
            tracing::warn!(attempt = %self.id, "the last event goes before the end of the log");
        }
    }

    async fn build(&self, log: &mut LogWriter, running: &mut Running) -> Result<What, AttemptError> {
        let order = match self.order(log).await {
            Err(AttemptError::Transfer(TransferError::Refused { status, .. }))
                if status.code() == tonic::Code::FailedPrecondition =>
            {
                return Ok(What::Failed(no_tree(&status)));
            }
            order => order?,
        };
        // What the worker mounts itself goes with it, and the coordinator removes the folder.
        running.archive = Some(order.archive.clone()).filter(|archive| !archive.starts_with(&order.scratch));
        let path = self.spool().join("order.json");
        order.write(&path)?;
        let worker = running.worker.insert(self.workers.start(&self.config.program(), &path)?);
        let last = match follow(self, worker, log).await? {
            End::Said(last) => last,
            // What it may leave behind by not dying is told where it is ended, in `carry_out`.
            End::Silent(failure) => return Ok(What::Failed(failure)),
        };
        let words = running.end().await?;
        match last {
            Some(Report::Finished(product)) => self.publish(&order, product, log).await,
            Some(Report::Failed(failure)) if failure.blame == Blame::Node => {
                Ok(What::Lost { reason: reason(&failure) })
            }
            Some(Report::Failed(failure)) => Ok(What::Failed(failure)),
            _ => Ok(What::Lost {
                reason: format!("the worker ended without a result: {words}").trim_end_matches(": ").to_owned(),
            }),
        }
    }

    /// Fetches the plan, and the tree if it is for one that is there already, and makes the attempt's folders.
    async fn order(&self, log: &mut LogWriter) -> Result<Order, AttemptError> {
        let plan = self.spool().join("plan.json");
        let bytes = transfer::plan(self.link.clone(), self.id, &self.plan_digest).await?;
        // One that can't be read is for the worker to refuse.
        let only_initrd = serde_json::from_slice(&bytes).is_ok_and(|plan: BuildPlan| plan.wish.only_initrd);
        let error = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| AttemptError::File { doing, path, source }
        };
        tokio::fs::write(&plan, bytes).await.map_err(error("write", &plan))?;
        let scratch = self.scratch();
        DirBuilder::new().recursive(true).mode(0o711).create(&scratch).map_err(error("make", &scratch))?;
        std::fs::set_permissions(&scratch, Permissions::from_mode(0o711)).map_err(error("make", &scratch))?;
        let tree = if only_initrd { Some(self.tree(&scratch, log).await?) } else { None };
        let Destination { install, mount, archive, conditions } = self.destination().await;
        let (attempt, facts) = (self.id, self.facts.as_ref().clone());
        let (min_scratch_free, proxies) = (self.config.min_scratch_free, self.config.proxies.clone());
        Ok(Order {
            attempt,
            plan,
            scratch,
            archive,
            tree,
            install,
            mount,
            conditions,
            min_scratch_free,
            proxies,
            facts,
        })
    }

    /// Fetches the tree that the image has already.
    async fn tree(&self, scratch: &Path, log: &mut LogWriter) -> Result<PathBuf, AttemptError> {
        // The worker looks again, in all ways; but not before all of the tree is there.
        let (folder, wanted) = (scratch.to_owned(), self.config.min_scratch_free);
        let probed = tokio::task::spawn_blocking(move || probe(&folder, wanted)).await;
        probed.map_err(|error| AttemptError::Probe(error.into()))??;
        let path = scratch.join("tree.tar.zst");
        let text = "fetching the tree of the image as it is on the management node";
        // As in `publish`: the log is a convenience.
        let mut say = |text: String| log.append(&Line { time_ms: now_ms(), stage: Stage::Prepare, text });
        let _ = say(text.to_owned());
        let bytes = transfer::tree(self.link.clone(), self.id, &path).await?;
        let _ = say(format!("the tree came as {}", crate::sys::probe::human(bytes)));
        Ok(path)
    }

    /// The staging folder where this node sees it; else the spool, to be uploaded from. Chosen once: later the root may
    /// not answer, and an attempt must come to its end all the same.
    async fn destination(&self) -> Destination {
        let staging = Path::new(self.staging.trim_start_matches('/'));
        let Seen { way, writable, conditions, .. } =
            self.root.look((!self.staging.is_empty()).then(|| staging.to_owned())).await;
        let (install, mount) = match way {
            None => (None, None),
            Some(Way::There(root)) => (Some(root), None),
            Some(Way::Mount(export)) => (Some(self.scratch().join("install")), Some(export)),
        };
        let folder = install.as_ref().filter(|_| writable).map(|root| root.join(staging));
        let archive = folder.unwrap_or_else(|| self.spool()).join(self.id.archive_name());
        Destination { install, mount, archive, conditions }
    }

    async fn publish(&self, order: &Order, product: Product, log: &mut LogWriter) -> Result<What, AttemptError> {
        if order.archive.starts_with(self.spool()) {
            // The log is a convenience here; the upload is what counts.
            let mut say = |text| {
                let _ = log.append(&Line { time_ms: now_ms(), stage: Stage::Publish, text });
            };
            let mut began = Instant::now();
            let begins = || {
                began = Instant::now();
                say(format!("uploading {}", crate::sys::probe::human(product.bytes)));
            };
            let limit = self.silence.of(Stage::Publish);
            match transfer::archive(self.link.clone(), self.id, &product, limit, begins).await {
                Err(TransferError::Refused { status, .. }) if status.code() == tonic::Code::ResourceExhausted => {
                    return Ok(What::Failed(no_room(&status)));
                }
                Err(error @ TransferError::Still { .. }) => return Ok(What::Failed(stood_still(&error))),
                uploaded => uploaded?,
            }
            say(format!("uploaded in {:.2} s", began.elapsed().as_secs_f64()));
        }
        let Product { archive: _, digest, bytes, kernel_version, packages, initrds, warnings } = product;
        Ok(What::Published(Published {
            digest: digest.to_string(),
            bytes,
            kernel_version,
            packages,
            log_lines: 0,
            initrds,
            warnings,
        }))
    }
}

/// How an attempt gets at the install root, and where its archive goes.
#[derive(Debug)]
struct Destination {
    install: Option<PathBuf>,
    mount: Option<Export>,
    archive: PathBuf,
    conditions: Vec<Condition>,
}

/// What is left to be ended, kept outside of what a cancellation drops.
#[derive(Debug, Default)]
struct Running {
    worker: Option<Worker>,
    /// Where its archive goes.
    archive: Option<PathBuf>,
}

impl Running {
    async fn end(&mut self) -> Result<String, HandleError> {
        match self.worker.take() {
            Some(worker) => worker.end().await,
            None => Ok(String::new()),
        }
    }
}

/// A management node without room has none for the next attempt either.
fn no_room(status: &tonic::Status) -> Failure {
    Failure {
        stage: Stage::Publish,
        cause: status.message().to_owned(),
        hint: "make room below the install root of the management node, then `imgctl builds retry`".to_owned(),
        last_lines: Vec::new(),
        blame: Blame::Build,
    }
}

/// The tree that only the management node has can't be had from it: that is the same on every node.
fn no_tree(status: &tonic::Status) -> Failure {
    Failure {
        stage: Stage::Prepare,
        cause: status.message().to_owned(),
        hint:
            "put it right on the management node, then `imgctl builds retry`; `imgctl genimage` without --onlyinitrd \
               builds the whole image"
                .to_owned(),
        last_lines: Vec::new(),
        blame: Blame::Build,
    }
}

fn stood_still(error: &TransferError) -> Failure {
    Failure {
        stage: Stage::Publish,
        cause: error.to_string(),
        hint: "look at the coordinator's log, and whether its disk below the install root can be written to".to_owned(),
        last_lines: Vec::new(),
        blame: Blame::Build,
    }
}

fn reason(failure: &Failure) -> String {
    let hint = if failure.hint.is_empty() { String::new() } else { format!(" (hint: {})", failure.hint) };
    format!("{}: {}{hint}", failure.stage, failure.cause)
}

/// Removes a folder of an attempt. What was just killed may hold on to it for a moment.
pub async fn clear(folder: PathBuf) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut tries = 0;
    loop {
        let target = folder.clone();
        let removed = tokio::task::spawn_blocking(move || {
            if target.symlink_metadata().is_err() { Ok(()) } else { rootfs::remove::remove_tree(&target) }
        });
        match removed.await? {
            Ok(()) => return Ok(()),
            Err(error) if tries >= CLEAR_TRIES => return Err(error.into()),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
