//! Receiving: what an attempt has published becomes a generation.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use model::build::{Build, BuildEvent, Failure, Part};
use model::generation::{GenerationRecord, GenerationState};
use model::id::{AttemptId, BuildId};
use rootfs::edits::Edit;

use super::Command;
use super::beside::here;
use super::clip;
use super::desk::{Desk, Parts, end_attempt};
use crate::chain::chain;
use crate::clock::now_ms;
use crate::generation::{Carried, EditsError, RootimgDir, carry_edits};
use crate::receive::{ReceiveError, ReceiveOrder, Received, receive};
use crate::staging;
use crate::store::StoreError;

/// How often receiving begins again when its process was killed.
const KILLED_AGAIN: u32 = 2;

/// Edits that came too late which a warning names.
const MISSED: usize = 10;

/// A tree that lies in its generation.
#[derive(Debug)]
pub(super) struct ReceivedTree {
    received: Received,
    /// For the log: what the tree has of the one that it was made from.
    note: Option<String>,
    /// What the user should know though it is there.
    warning: Option<String>,
}

impl Desk {
    /// Receives what an attempt has published.
    pub(super) fn receive(&mut self, attempt: AttemptId) {
        let Some(active) = self.active.get_mut(&attempt.build) else { return };
        let cancel = Arc::new(AtomicBool::new(false));
        active.work = Some(cancel.clone());
        let (build, parts) = (active.build.clone(), self.parts.clone());
        self.beside(
            cancel.clone(),
            move || {
                let result = take_in(&parts, &build, attempt, &cancel);
                Command::Received { attempt, result: result.map(|received| made_from(&parts, &build, received)) }
            },
            move |failure| Command::Received { attempt, result: Err(failure) },
        );
    }

    /// The tree is there, or can't be taken in.
    pub(super) async fn on_received(
        &mut self,
        attempt: AttemptId,
        result: Result<ReceivedTree, Failure>,
    ) -> Result<(), StoreError> {
        let Some(active) = self.active.get_mut(&attempt.build) else { return Ok(()) };
        active.work = None;
        let ReceivedTree { received, note, warning } = match result {
            Ok(tree) => tree,
            Err(failure) => return self.ended_badly(attempt.build, failure).await,
        };
        let mut build = active.build.clone();
        let event = BuildEvent::Received { attempt: attempt.attempt, generation: received.generation };
        let Ok(state) = build.state.on(event) else { return Ok(()) };
        build.state = state;
        build.generation = Some(received.generation);
        build.artefacts = received.artefacts.clone();
        if let Some(published) = build.attempts.last_mut().and_then(|record| record.published.as_mut()) {
            build.initrds = std::mem::take(&mut published.initrds);
            build.warnings.append(&mut published.warnings);
        }
        end_attempt(&mut build, "received");
        build.warnings.extend(warning.clone());
        let record = record_of(&build, &received);
        self.note(&build, "receive", &said(&received));
        for text in note.into_iter().chain(warning.map(|warning| format!("warning: {warning}"))) {
            self.note(&build, "receive", &text);
        }
        let build = clip::fitted(build);
        self.parts.store.save_generations(&build, &[record], &[]).await?;
        self.show(build.clone());
        self.clear_staging(&build);
        self.go_on(build.id).await
    }

    /// After receiving: packimage, or the end.
    pub(super) async fn go_on(&mut self, id: BuildId) -> Result<(), StoreError> {
        let Some(build) = self.active.get(&id).map(|active| active.build.clone()) else { return Ok(()) };
        let Some(generation) = build.generation else { return Ok(()) };
        if let Some(by) = self.active.get(&id).and_then(|active| active.build.cancel_by.clone()) {
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
}

/// Of a tree that went out and came back with other initrds (`--onlyinitrd`), edits by hand are edits still.
fn made_from(parts: &Parts, build: &Build, received: Received) -> ReceivedTree {
    let (mut note, mut warning) = (None, None);
    if build.genimage.only_initrd {
        match carried(parts, build, &received) {
            Ok((from, carried)) => {
                note = Some(from + &kept(carried.kept));
                warning = missed(&carried.missed);
            }
            Err(error) => {
                let text = "edits by hand that are in the tree can't be told from what was built any more";
                warning = Some(format!("{text}: {error}"));
            }
        }
    }
    ReceivedTree { received, note, warning }
}

/// Whose tree it was, in words, and what became of its edits.
fn carried(parts: &Parts, build: &Build, received: &Received) -> Result<(String, Carried), String> {
    let mut records = parts.store.generations(&build.rootimgdir).map_err(|error| chain(&error))?;
    // Its own record is not written yet.
    let from = records.pop().ok_or("the generation that it was made from has no record")?;
    let dir = RootimgDir::open(&build.rootimgdir, &parts.config.install_dir).map_err(EditsError::from);
    let carried = dir.and_then(|dir| carry_edits(&dir, from.number.into(), received.generation.into()));
    let whose = if from.osimage == build.osimage { String::new() } else { format!(", built for {}", from.osimage) };
    let text = format!("the tree is that of generation {}{whose}", from.number);
    carried.map(|carried| (text, carried)).map_err(|error| chain(&error))
}

fn kept(edits: usize) -> String {
    if edits == 0 { String::new() } else { format!(", with its {edits} edits by hand") }
}

/// Edits that were made too late, the first of them by name.
fn missed(edits: &[Edit]) -> Option<String> {
    let shown: Vec<String> = edits.iter().take(MISSED).map(ToString::to_string).collect();
    let more = edits.len().saturating_sub(MISSED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let text = "edits that were made while the build ran are not in its tree";
    (!edits.is_empty()).then(|| format!("{text}: {}{more}", shown.join("; ")))
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
    let mut killed = 0;
    loop {
        match receive(&order, cancel) {
            // The archive is still there.
            Err(error) if error.was_killed() && killed < KILLED_AGAIN => {
                killed += 1;
                tracing::warn!(%attempt, error = chain(&error), "receiving begins again");
            }
            received => return received.map_err(|error| receive_failure(&error)),
        }
    }
}

fn receive_failure(error: &ReceiveError) -> Failure {
    let hint = if error.is_transport() {
        "`imgctl builds retry` builds and sends it again"
    } else {
        "put right what it names, then `imgctl builds retry`"
    };
    here("receive", chain(error), Some(hint.into()))
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
        emulated_on: attempt.and_then(|record| record.emulated_on.clone()),
        artefacts: received.artefacts.clone(),
    }
}

fn said(received: &Received) -> String {
    let mut text = format!(
        "received as generation {}, with the digest that the agent named: {} entries, {} MB",
        received.generation,
        received.tree_entries,
        received.tree_bytes / 1_000_000
    );
    if let Some(adopted) = &received.adopted {
        text.push_str(&format!("; what xCAT left there ({}) is generation 0 now", adopted.names.join(", ")));
    }
    text
}
