//! Another generation live, by hand: its artefacts are read and the links switched beside the desk.
//!
//! It is never done beside work of a build in the same rootimgdir: none is received or packed when it begins, none starts
//! there meanwhile, and what an agent publishes meanwhile is received when it has ended. A kill in the middle leaves the
//! old generation live or the new one, as the switch is one rename, and nothing else of it is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::build::Artefact;
use model::id::AttemptId;

use super::desk::{Active, Desk, reply};
use super::{Answer, Command, Refused};
use crate::generation::atomic::failed;
use crate::generation::{ActivateError, LayoutError, LinkError, Number, RootimgDir, Switched, activate};
use crate::store::StoreError;

/// A generation that is being put live.
#[derive(Debug)]
pub(super) struct Switching {
    pub(super) number: Number,
    stop: Arc<AtomicBool>,
    answer: Answer<Switched>,
}

impl Switching {
    /// Ends it, unless the switch has begun.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Desk {
    /// Begins to put generation `number` live; the answer is given when that is done.
    pub(super) fn activate(
        &mut self,
        rootimgdir: PathBuf,
        number: Number,
        answer: Answer<Switched>,
    ) -> Result<(), StoreError> {
        let recorded = match self.may_activate(&rootimgdir, number) {
            Ok(recorded) => recorded,
            Err(refused) => return reply(answer, Err(refused)),
        };
        let stop = Arc::new(AtomicBool::new(false));
        self.switching.insert(rootimgdir.clone(), Switching { number, stop: stop.clone(), answer });
        let (install_dir, place) = (self.parts.config.install_dir.clone(), rootimgdir.clone());
        self.beside_at_once(
            move || {
                let result = match RootimgDir::find(&place, &install_dir) {
                    Ok(Some(dir)) => activate(&dir, number, &recorded, &stop),
                    Ok(None) => Err(LayoutError::NoGeneration { number, rootimgdir: place.clone() }.into()),
                    Err(error) => Err(error.into()),
                };
                Command::Activated { rootimgdir: place, result }
            },
            move |failure| {
                let error = failed("switch links of", &rootimgdir)(std::io::Error::other(failure.cause));
                Command::Activated { rootimgdir, result: Err(LinkError::from(error).into()) }
            },
        );
        Ok(())
    }

    /// What a generation holds that may go live now.
    fn may_activate(&self, rootimgdir: &Path, number: Number) -> Result<Vec<Artefact>, Refused> {
        if let Some(switching) = self.switching.get(rootimgdir) {
            return Err(Refused::Switching(switching.number, rootimgdir.to_owned()));
        }
        let works = |active: &&Active| active.work.is_some() && active.build.rootimgdir == rootimgdir;
        if let Some(active) = self.active.values().find(works) {
            return Err(Refused::Working(active.build.id, rootimgdir.to_owned()));
        }
        // What xCAT left has no record.
        let Some(ours) = number.ours() else { return Ok(Vec::new()) };
        match self.parts.store.generation(rootimgdir, ours)? {
            Some(record) => Ok(record.artefacts),
            // What a restart left without a record can't be checked.
            None => {
                let rootimgdir = rootimgdir.to_owned();
                Err(ActivateError::from(LayoutError::NoGeneration { number, rootimgdir }).into())
            }
        }
    }

    /// It is live, or what was live before still is. What has waited for it begins.
    pub(super) fn on_activated(
        &mut self,
        rootimgdir: &Path,
        result: Result<Switched, ActivateError>,
    ) -> Result<(), StoreError> {
        let Some(Switching { answer, .. }) = self.switching.remove(rootimgdir) else { return Ok(()) };
        // Else the next run of the coordinator receives it.
        let waiting = if self.stopping { Vec::new() } else { self.published_in(rootimgdir) };
        waiting.into_iter().for_each(|attempt| self.receive(attempt));
        if let Ok(switched) = &result {
            let from = switched.from.map(|number| number.to_string()).unwrap_or_default();
            tracing::info!(rootimgdir = %rootimgdir.display(), from, to = %switched.to, "put live by hand");
        }
        let result = result.map_err(|error| match error {
            ActivateError::Stopped(_) if self.stopping => Refused::Stopping,
            error => error.into(),
        });
        reply(answer, result)
    }

    /// Ends what nobody waits for any more: who gave up on it must not find it live later.
    pub(super) fn stop_unheard(&self) {
        self.switching.values().filter(|one| one.answer.is_closed()).for_each(Switching::stop);
    }

    /// Receives what an attempt has published, once nothing is being put live in its rootimgdir.
    pub(super) fn receive_in_turn(&mut self, attempt: AttemptId) {
        let place = self.active.get(&attempt.build).map(|active| &active.build.rootimgdir);
        if place.is_some_and(|place| !self.switching.contains_key(place)) {
            self.receive(attempt);
        }
    }

    /// The attempts that wait to be received into a rootimgdir.
    fn published_in(&self, rootimgdir: &Path) -> Vec<AttemptId> {
        let here = self.active.values().filter(|one| one.work.is_none() && one.build.rootimgdir == rootimgdir);
        let published = here.filter_map(|Active { build, .. }| {
            let (_, attempt) = build.state.lease()?;
            build.attempts.last()?.published.as_ref()?;
            Some(AttemptId { build: build.id, attempt })
        });
        published.collect()
    }
}
