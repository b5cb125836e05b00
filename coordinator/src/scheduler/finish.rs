//! What follows an agent's work: receiving its archive, packing, keeping the last generations.
//!
//! Each runs on a thread beside the desk and comes back as a command. All of it can be begun again after a
//! restart: nothing counts before its record is written.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use model::build::{Artefact, Build, BuildEvent, BuildState, Failure, Part};
use model::generation::{GenerationRecord, GenerationState};
use model::id::{Attempt, AttemptId, BuildId, Generation};
use model::osimage::Osimage;

use super::Command;
use super::clip;
use super::desk::{Desk, Parts, end_attempt};
use crate::chain::chain;
use crate::clock::now_ms;
use crate::generation::{Number, RootimgDir, retain, sweep};
use crate::logs::LogLine;
use crate::osimage::{Site, resolve};
use crate::packimage::{self, Format, PackOrder, Packed};
use crate::receive::{ReceiveError, ReceiveOrder, Received, receive};
use crate::staging;
use crate::store::StoreError;

/// A tree that lies in its generation.
#[derive(Debug)]
pub(super) struct ReceivedTree {
    received: Received,
}

/// An archive that is live.
#[derive(Debug)]
pub(super) struct PackedImage {
    packed: Packed,
    removed: Vec<Number>,
    /// Trees that a removed generation handed on, from and to.
    moved: Vec<(Number, Number)>,
}

impl Desk {
    /// Goes on with what an earlier run had begun.
    pub(super) async fn resume_work(&mut self) -> Result<(), StoreError> {
        let builds: Vec<Build> = self.active.values().map(|active| active.build.clone()).collect();
        self.sweep(&builds).await;
        for build in builds {
            match &build.state {
                BuildState::Packing { generation } => self.pack(build.id, *generation),
                BuildState::Received { .. } => self.go_on(build.id).await?,
                _ => {
                    let published = build.attempts.last().filter(|record| record.published.is_some());
                    if let (Some(record), Some(_)) = (published, build.state.lease()) {
                        self.receive(AttemptId { build: build.id, attempt: record.attempt });
                    }
                }
            }
        }
        Ok(())
    }

    /// Clears what an earlier run of the coordinator left half done in the rootimgdirs that it was working on.
    async fn sweep(&self, builds: &[Build]) {
        let working = builds.iter().filter(|build| build.state != BuildState::Queued);
        let folders: Vec<PathBuf> = working.map(|build| build.rootimgdir.clone()).collect();
        let install_dir = self.parts.config.install_dir.clone();
        let swept = tokio::task::spawn_blocking(move || {
            for folder in folders {
                if let Err(error) = sweep_one(&folder, &install_dir) {
                    tracing::warn!(rootimgdir = %folder.display(), error, "can't be cleared of half done work");
                }
            }
        });
        if let Err(error) = swept.await {
            tracing::error!(%error, "clearing half done work failed");
        }
    }

    /// Receives what an attempt has published.
    pub(super) fn receive(&mut self, attempt: AttemptId) {
        let Some(active) = self.active.get_mut(&attempt.build) else { return };
        let cancel = Arc::new(AtomicBool::new(false));
        active.work = Some(cancel.clone());
        let (build, parts) = (active.build.clone(), self.parts.clone());
        self.beside(move || {
            let result = take_in(&parts, &build, attempt, &cancel);
            Command::Received { attempt, result: result.map(|received| ReceivedTree { received }) }
        }, move |failure| Command::Received { attempt, result: Err(failure) });
    }

    /// The tree is there, or can't be taken in.
    pub(super) async fn on_received(
        &mut self,
        attempt: AttemptId,
        result: Result<ReceivedTree, Failure>,
    ) -> Result<(), StoreError> {
        let Some(active) = self.active.get_mut(&attempt.build) else { return Ok(()) };
        active.work = None;
        let received = match result {
            Ok(tree) => tree.received,
            Err(failure) => return self.ended_badly(attempt.build, failure).await,
        };
        let mut build = active.build.clone();
        let event = BuildEvent::Received { attempt: attempt.attempt, generation: received.generation };
        let Ok(state) = build.state.on(event) else { return Ok(()) };
        build.state = state;
        build.generation = Some(received.generation);
        build.artefacts = received.artefacts.clone();
        end_attempt(&mut build, "received");
        let record = record_of(&build, &received);
        self.note(&build, "receive", &said(&received));
        let build = clip::fitted(build);
        self.parts.store.save_generations(&build, &[record], &[]).await?;
        self.show(build.clone());
        self.clear_staging(&build);
        self.go_on(build.id).await
    }

    /// After receiving: packimage, or the end.
    async fn go_on(&mut self, id: BuildId) -> Result<(), StoreError> {
        let Some(build) = self.active.get(&id).map(|active| active.build.clone()) else { return Ok(()) };
        let Some(generation) = build.generation else { return Ok(()) };
        if let Some(by) = self.active.get(&id).and_then(|active| active.cancel_by.clone()) {
            let _ = self.apply(id, BuildEvent::Cancelled { by }, "cancelled").await?;
            return Ok(());
        }
        if self.stopping {
            // The next run of the coordinator goes on here.
            return Ok(());
        }
        if build.part == Part::Both {
            // Refused only if it has ended meanwhile.
            if self.apply(id, BuildEvent::Packing { generation }, "received").await?.is_ok() {
                self.pack(id, generation);
            }
            return Ok(());
        }
        let _ = self.apply(id, BuildEvent::Finished, "received").await?;
        Ok(())
    }

    /// Starts a build of packimage alone on the newest generation.
    pub(super) async fn pack_newest(&mut self, id: BuildId) -> Result<(), StoreError> {
        let Some(active) = self.active.get(&id) else { return Ok(()) };
        let dir = active.build.rootimgdir.clone();
        match self.parts.store.generations(&dir)?.last().map(|record| record.number) {
            Some(generation) => {
                if self.apply(id, BuildEvent::Packing { generation }, "").await?.is_ok() {
                    self.pack(id, generation);
                }
                Ok(())
            }
            None => {
                let cause = format!("{}/rootimg does not exist, run genimage first", dir.display());
                self.fail(id, here("packimage", cause, None)).await
            }
        }
    }

    fn pack(&mut self, id: BuildId, generation: Generation) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let cancel = Arc::new(AtomicBool::new(false));
        active.work = Some(cancel.clone());
        let (build, parts) = (active.build.clone(), self.parts.clone());
        self.note(&build, "packimage", &format!("Packing contents of {}/rootimg", build.rootimgdir.display()));
        self.beside(move || {
            let result = pack_now(&parts, &build, generation, &cancel);
            Command::Packed { build: id, result }
        }, move |failure| Command::Packed { build: id, result: Err(failure) });
    }

    /// The archive is live, or what was served before still is.
    pub(super) async fn on_packed(
        &mut self,
        id: BuildId,
        result: Result<PackedImage, Failure>,
    ) -> Result<(), StoreError> {
        let Some(active) = self.active.get_mut(&id) else { return Ok(()) };
        active.work = None;
        let mut build = active.build.clone();
        let PackedImage { packed, removed, moved } = match result {
            Ok(image) => image,
            Err(failure) => {
                self.note(&build, "packimage", &failure.cause);
                return self.ended_badly(id, failure).await;
            }
        };
        let Some(number) = packed.generation.ours() else { return Ok(()) };
        let from = build.generation.or(packed.tree_of.and_then(Number::ours)).unwrap_or(number);
        let before = self.parts.store.generation(&build.rootimgdir, from)?;
        let record = before.map(|before| sealed(before, &build, number, &packed));
        let Ok(state) = build.state.on(BuildEvent::Finished) else { return Ok(()) };
        build.state = state;
        build.generation = Some(number);
        build.artefacts.clone_from(&packed.artefacts);
        if let Some(tree) = record.as_ref().and_then(|record| record.artefacts.iter().find(|one| one.name == "rootimg"))
        {
            build.artefacts.retain(|one| one.name != "rootimg");
            build.artefacts.push(tree.clone());
        }
        build.ended_ms = now_ms();
        self.note(&build, "packimage", &format!("generation {number} is live, image UUID {}", packed.uuid));
        let build = clip::fitted(build);
        let removed: Vec<Generation> = removed.into_iter().filter_map(Number::ours).collect();
        let mut kept = self.parts.store.generations(&build.rootimgdir)?;
        kept.retain(|one| !removed.contains(&one.number) && Some(one.number) != record.as_ref().map(|new| new.number));
        // One that had to be packed as the next was sealed already, whatever its record says.
        for sealed in kept.iter_mut().filter(|one| number != from && one.number == from) {
            sealed.state = GenerationState::Packed;
        }
        kept.extend(record);
        hand_over(&mut kept, &moved);
        self.parts.store.save_generations(&build, &kept, &removed).await?;
        self.show(build);
        Ok(())
    }

    /// Work beside the desk failed. If its end was asked for, that was why; if the coordinator is stopping, the next
    /// run begins it again.
    async fn ended_badly(&mut self, id: BuildId, failure: Failure) -> Result<(), StoreError> {
        match self.active.get(&id).and_then(|active| active.cancel_by.clone()) {
            Some(by) => {
                let _ = self.apply(id, BuildEvent::Cancelled { by }, "cancelled").await?;
                Ok(())
            }
            None if self.stopping => Ok(()),
            None => self.fail(id, failure).await,
        }
    }

    /// Runs something long on a thread, a few at a time, and brings its outcome to the desk; `died` makes that of a
    /// panic.
    fn beside(
        &self,
        work: impl FnOnce() -> Command + Send + 'static,
        died: impl FnOnce(Failure) -> Command + Send + 'static,
    ) {
        let (places, to_self) = (self.heavy.clone(), self.to_self.clone());
        self.tasks.spawn(async move {
            let Ok(_place) = places.acquire_owned().await else { return };
            let outcome = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
                tracing::error!(%error, "work beside the desk panicked");
                died(here("coordinator", "internal error; the coordinator's log has more".into(), None))
            });
            // Fails only when the desk has stopped.
            let _ = to_self.send(outcome).await;
        });
    }

    /// Adds a line of the coordinator's own to the log of a build's newest attempt.
    fn note(&self, build: &Build, stage: &str, text: &str) {
        let attempt = build.attempts.last().map_or(Attempt::FIRST, |record| record.attempt);
        let id = AttemptId { build: build.id, attempt };
        let written = self.parts.logs.attempt(id).and_then(|log| {
            let next = log.head().borrow().lines + 1;
            log.append(next, &[LogLine { time_ms: now_ms(), stage: stage.into(), text: text.into() }])
        });
        if let Err(error) = written {
            tracing::warn!(build = %build.id, %error, "a line of the log can't be written");
        }
    }

    /// No more comes to an attempt's log: followers end, and it is compressed beside the desk.
    pub(super) fn end_log(&self, id: AttemptId) {
        let logs = self.parts.logs.clone();
        logs.end(id);
        self.tasks.spawn(async move {
            if let Err(error) = logs.compress(id).await
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(attempt = %id, %error, "a log stays uncompressed");
            }
        });
    }

    /// Removes what the attempts of a build have left in staging.
    pub(super) fn clear_staging(&self, build: &Build) {
        for record in &build.attempts {
            self.remove_staging(record.staging.clone());
        }
    }

    /// Removes what one attempt has left in staging.
    pub(super) fn forget_staging(&self, attempt: AttemptId) {
        let build = self.active.get(&attempt.build).map(|active| &active.build);
        let record = build.and_then(|build| build.attempts.iter().find(|record| record.attempt == attempt.attempt));
        if let Some(record) = record {
            self.remove_staging(record.staging.clone());
        }
    }

    fn remove_staging(&self, folder: PathBuf) {
        let install_dir = self.parts.config.install_dir.clone();
        self.tasks.spawn_blocking(move || staging::remove(&install_dir, &folder));
    }
}

fn sweep_one(rootimgdir: &Path, install_dir: &Path) -> Result<(), String> {
    let dir = RootimgDir::open(rootimgdir, install_dir).map_err(|error| chain(&error))?;
    sweep(&dir).map(|_| ()).map_err(|error| chain(&error))
}

fn take_in(parts: &Parts, build: &Build, attempt: AttemptId, cancel: &AtomicBool) -> Result<Received, Failure> {
    let record = build.attempts.last().filter(|record| record.attempt == attempt.attempt);
    let published = record.and_then(|record| Some((record, record.published.as_ref()?)));
    let (record, archive) = published.ok_or_else(|| here("receive", "nothing was published".into(), None))?;
    let digest = archive.digest.parse();
    let digest = digest.map_err(|_| here("receive", format!("`{}` is not a digest", archive.digest), None))?;
    let install_dir = parts.config.install_dir.clone();
    let order = ReceiveOrder {
        archive: staging::archive(&install_dir, &record.staging, attempt),
        digest,
        bytes: archive.bytes,
        rootimgdir: build.rootimgdir.clone(),
        install_dir,
        attempt,
        // By this name it is found even after the file was replaced by an upgrade.
        unpacker: vec![OsString::from("/proc/self/exe"), OsString::from("unpack")],
    };
    receive(&order, cancel).map_err(|error| receive_failure(&error))
}

fn receive_failure(error: &ReceiveError) -> Failure {
    let hint = if error.is_transport() {
        "`imgctl builds retry` builds and sends it again"
    } else {
        "put right what it names, then `imgctl builds retry`"
    };
    here("receive", chain(error), Some(hint.into()))
}

/// Packs by the definition as it is now: its exlists and synclists may have been edited since genimage.
fn pack_now(parts: &Parts, build: &Build, number: Generation, cancel: &AtomicBool) -> Result<PackedImage, Failure> {
    let failed = |error: &dyn std::error::Error| here("packimage", chain(error), None);
    let osimage = parts.store.osimage(&build.osimage).map_err(|error| failed(&error))?;
    let gone = || here("packimage", format!("osimage `{}` was removed meanwhile", build.osimage), None);
    let order = pack_order(parts, build, &osimage.ok_or_else(gone)?)?;
    let dir = RootimgDir::open(&build.rootimgdir, &parts.config.install_dir).map_err(|error| failed(&error))?;
    let packed = packimage::pack(&order, &dir, number.into(), cancel).map_err(|error| failed(&error))?;
    let (removed, moved) = prune(&dir, parts.config.keep_generations, packed.generation);
    Ok(PackedImage { packed, removed, moved })
}

/// Old generations go. The image is live already, so what can't be removed is no failure of the build.
fn prune(dir: &RootimgDir, keep: usize, live: Number) -> (Vec<Number>, Vec<(Number, Number)>) {
    match retain(dir, keep, &[live]) {
        Ok(kept) => {
            for (path, error) in &kept.refused {
                tracing::warn!(path = %path.display(), %error, "an old generation can't be removed");
            }
            (kept.removed, kept.moved)
        }
        Err(error) => {
            tracing::warn!(rootimgdir = %dir.path().display(), error = chain(&error), "old generations can't be removed");
            (Vec::new(), Vec::new())
        }
    }
}

fn pack_order(parts: &Parts, build: &Build, osimage: &Osimage) -> Result<PackOrder, Failure> {
    let site = Site { install_dir: parts.config.install_dir.clone() };
    let resolved = resolve(osimage, &site).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        here("packimage", lines.join("; "), Some("put the lists right, then `imgctl packimage`".into()))
    })?;
    let format = Format::parse(&build.pack.method, &build.pack.compress);
    let format = format.map_err(|error| here("packimage", error.to_string(), None))?;
    let plan = resolved.pack;
    Ok(PackOrder {
        osimage: build.osimage.clone(),
        excludes: plan.excludes.into_iter().map(|rule| rule.pattern).collect(),
        includes: plan.includes.into_iter().map(|rule| rule.pattern).collect(),
        copies: if build.pack.nosyncfiles { Vec::new() } else { plan.copies },
        format,
        root_hash: parts.config.root_password_hash.clone(),
        threads: threads(parts.config.pack_threads),
    })
}

/// As many as asked for; 0 means one per processor.
pub(crate) fn threads(asked: usize) -> NonZeroUsize {
    NonZeroUsize::new(asked).or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

fn record_of(build: &Build, received: &Received) -> GenerationRecord {
    let attempt = build.attempts.last();
    let published = attempt.and_then(|record| record.published.as_ref());
    GenerationRecord {
        number: received.generation,
        osimage: build.osimage.clone(),
        build: build.id,
        rootimgdir: build.rootimgdir.clone(),
        state: GenerationState::Built,
        tree_of: None,
        built_ms: now_ms(),
        packed_ms: 0,
        kernel_version: published.map(|archive| archive.kernel_version.clone()).unwrap_or_default(),
        agent: attempt.map(|record| record.agent.clone()).expect("a received build has an attempt"),
        packages: published.map_or(0, |archive| archive.packages),
        artefacts: received.artefacts.clone(),
    }
}

fn sealed(before: GenerationRecord, build: &Build, number: Generation, packed: &Packed) -> GenerationRecord {
    let tree: Vec<Artefact> = before.artefacts.iter().filter(|one| one.name == "rootimg").cloned().collect();
    let artefacts = packed.artefacts.iter().filter(|one| one.name != "rootimg").cloned().chain(tree).collect();
    GenerationRecord {
        number,
        osimage: build.osimage.clone(),
        state: GenerationState::Packed,
        tree_of: packed.tree_of.and_then(Number::ours),
        packed_ms: now_ms(),
        artefacts,
        ..before
    }
}

/// A tree that moved has a new owner; the generations that share it say so.
fn hand_over(records: &mut [GenerationRecord], moved: &[(Number, Number)]) {
    for (from, to) in moved {
        let (Some(from), Some(to)) = (from.ours(), to.ours()) else { continue };
        for record in records.iter_mut().filter(|record| record.tree_of == Some(from)) {
            record.tree_of = (record.number != to).then_some(to);
        }
    }
    for record in records {
        let tree = record.tree_of.unwrap_or(record.number);
        let path = model::generation::generation_dir(&record.rootimgdir, tree).join("rootimg");
        for artefact in record.artefacts.iter_mut().filter(|artefact| artefact.name == "rootimg") {
            artefact.path.clone_from(&path);
        }
    }
}

fn said(received: &Received) -> String {
    let mut text = format!(
        "received as generation {}: {} entries, {} MB",
        received.generation,
        received.tree_entries,
        received.tree_bytes / 1_000_000
    );
    if let Some(adopted) = &received.adopted {
        text.push_str(&format!("; what xCAT left there ({}) is generation 0 now", adopted.names.join(", ")));
    }
    text
}

fn here(stage: &str, cause: String, hint: Option<String>) -> Failure {
    Failure { stage: stage.into(), cause, hint, last_lines: Vec::new() }
}
