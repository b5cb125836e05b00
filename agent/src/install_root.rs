//! The MN's install root as this node sees it: looked at now and then for the coordinator, and once more before each
//! attempt, in the attempt's own staging folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::agent::{Condition, InstallView, Survey};
use proto::v1;
use tokio::sync::watch;

use crate::config::{Config, Install};
use crate::preflight::child::{ANSWERS, ask};
use crate::preflight::conditions::INSTALL_NOT_MOUNTED;
use crate::preflight::export::Export;
use crate::preflight::{Question, Seen, scratch};

/// The time between two looks.
const RENEWED: Duration = Duration::from_secs(15);

/// Where to look, and the way to look there.
#[derive(Debug, Clone)]
pub struct InstallRoot {
    config: Arc<Config>,
    /// What the coordinator said last of how to get at it.
    offer: watch::Receiver<v1::InstallOffer>,
}

impl InstallRoot {
    /// Of a node, and the way to tell it what the coordinator says.
    pub fn new(config: Arc<Config>) -> (Self, watch::Sender<v1::InstallOffer>) {
        let (offered, offer) = watch::channel(v1::InstallOffer::default());
        (Self { config, offer }, offered)
    }

    /// Looks at it, and whether the folder `proof` of it can be written to.
    pub async fn look(&self, proof: Option<PathBuf>) -> Seen {
        let (seen, hung) = self.ask(proof).await;
        // It was killed, and goes when the kernel lets it.
        drop(hung);
        seen
    }

    async fn ask(&self, proof: Option<PathBuf>) -> (Seen, Option<tokio::process::Child>) {
        if self.config.install == Install::None {
            return (Seen::nothing(Vec::new()), None);
        }
        let question = Question {
            install: self.config.install,
            install_dir: self.config.install_dir.clone(),
            export: self.export(),
            mount_point: self.config.mount_point(),
            proof,
        };
        ask(&self.config.program(), &question, ANSWERS).await
    }

    /// What is to be mounted: the node's own configuration comes first.
    fn export(&self) -> Option<Export> {
        let offer = self.offer.borrow();
        let Config { install_source, install_options, .. } = self.config.as_ref();
        let own = Export::of(install_source, install_options);
        own.or_else(|| {
            Export::of(&offer.source, if install_options.is_empty() { &offer.options } else { install_options })
        })
    }

    fn proof(&self) -> Option<PathBuf> {
        let offer = self.offer.borrow();
        let proof = Path::new(&offer.proof);
        // What leads out of the install root is no proof of it.
        let inside = proof.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        (inside && !offer.proof.is_empty()).then(|| proof.to_owned())
    }
}

/// What was found last, for whoever wants to know.
#[derive(Debug, Clone)]
pub struct Found(watch::Receiver<Option<Survey>>);

impl Found {
    /// Of a node that nobody looks at.
    pub fn nothing() -> Self {
        Self(watch::channel(None).1)
    }

    /// What was found last; before the first look nothing is seen, and nothing is wrong.
    pub fn now(&self) -> Survey {
        let nothing = || Survey { install: InstallView::None, conditions: Vec::new() };
        self.0.borrow().clone().unwrap_or_else(nothing)
    }

    /// Waits for the first look to end.
    pub async fn first(&mut self) {
        // Without a looker nothing will be found.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// Waits until something else is found than was last told by this.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Looks again and again.
#[derive(Debug)]
pub struct Looker {
    root: InstallRoot,
    found: watch::Sender<Option<Survey>>,
}

impl Looker {
    /// Both ends.
    pub fn new(root: InstallRoot) -> (Self, Found) {
        let (found, finding) = watch::channel(None);
        (Self { root, found }, Found(finding))
    }

    /// Looks until it is dropped: at once when the coordinator says something new, now and then otherwise.
    pub async fn run(mut self) {
        let mut hanging = None;
        loop {
            self.root.offer.mark_unchanged();
            hanging = self.look_once(hanging).await;
            tokio::select! {
                () = tokio::time::sleep(RENEWED) => {}
                Ok(()) = self.root.offer.changed() => {}
            }
        }
    }

    /// Looks at the scratch folder, and at the install root unless an earlier look still hangs there: nobody else is sent
    /// to hang as well. Gives what hangs now.
    async fn look_once(&self, hanging: Option<Hanging>) -> Option<Hanging> {
        let mut conditions: Vec<Condition> = scratch_of(&self.root.config).await.into_iter().collect();
        let (seen, hung) = match hanging.and_then(Hanging::still) {
            Some(Hanging { seen, child }) => (seen, Some(child)),
            None => self.root.ask(self.root.proof()).await,
        };
        conditions.extend(seen.conditions.iter().filter(|found| !self.is_early(found)).cloned());
        self.tell(Survey { install: seen.install, conditions });
        hung.map(|child| Hanging { seen, child })
    }

    /// Whether a condition is only that the coordinator hasn't been heard yet, who may say what to mount.
    fn is_early(&self, found: &Condition) -> bool {
        found.name == INSTALL_NOT_MOUNTED.name && *self.root.offer.borrow() == v1::InstallOffer::default()
    }

    fn tell(&self, survey: Survey) {
        self.found.send_if_modified(|last| {
            let new = last.as_ref() != Some(&survey);
            if new {
                let is_same = |one: &Condition, other: &Condition| one.name == other.name && one.effect == other.effect;
                let known = |found: &Condition| {
                    last.iter().flat_map(|last| &last.conditions).any(|condition| is_same(condition, found))
                };
                // A figure in it that changes is no news for the log.
                survey.conditions.iter().filter(|found| !known(found)).for_each(|condition| {
                    tracing::warn!("{condition}; {}", condition.remedy);
                });
                *last = Some(survey);
            }
            new
        });
    }
}

/// A look that was given up, while the kernel still holds whoever looks.
#[derive(Debug)]
struct Hanging {
    seen: Seen,
    child: tokio::process::Child,
}

impl Hanging {
    fn still(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }
}

async fn scratch_of(config: &Arc<Config>) -> Option<Condition> {
    let config = config.clone();
    let looked = tokio::task::spawn_blocking(move || scratch::condition(&config.scratch(), config.min_scratch_free));
    // A panic is no finding.
    looked.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(config: Config, offer: v1::InstallOffer) -> InstallRoot {
        let (root, offered) = InstallRoot::new(Arc::new(config));
        offered.send_replace(offer);
        root
    }

    #[test]
    fn the_nodes_own_word_on_what_to_mount_comes_first() {
        let offer = |proof: &str| v1::InstallOffer {
            source: "mn:/install".into(),
            options: "vers=4.1".into(),
            proof: proof.into(),
        };
        let config = Config::new("mn:7443", "/s");
        let told = root(config.clone(), offer("a/b"));
        assert_eq!((told.export(), told.proof()), (Export::of("mn:/install", "vers=4.1"), Some("a/b".into())));
        let (mut own, mut options) = (config.clone(), config.clone());
        own.install_source = "other:/i".into();
        options.install_options = "ro".into();
        assert_eq!(root(own, offer("../etc")).export(), Export::of("other:/i", ""));
        assert_eq!(root(options, offer("")).export(), Export::of("mn:/install", "ro"));
        for bad in ["../etc", "/etc", ""] {
            assert_eq!(root(config.clone(), offer(bad)).proof(), None, "{bad}");
        }
        assert_eq!(root(config, v1::InstallOffer::default()).export(), None);
    }

    #[tokio::test]
    async fn the_scratch_folder_is_told_of_where_no_install_root_is_wanted() {
        let mut config = Config::new("mn:7443", "/nowhere/at/all");
        config.install = Install::None;
        let (looker, mut found) = Looker::new(root(config, v1::InstallOffer::default()));
        looker.look_once(None).await;
        found.first().await;
        let names: Vec<_> = found.now().conditions.into_iter().map(|condition| condition.name).collect();
        assert_eq!(names, ["scratch-folder"]);
    }

    #[test]
    fn nothing_is_missed_before_the_coordinator_has_said_what_to_mount() {
        let (condition, proof) = (INSTALL_NOT_MOUNTED.found(""), String::from("a"));
        let is_early = |offer| Looker::new(root(Config::new("mn:7443", "/s"), offer)).0.is_early(&condition);
        assert!(is_early(v1::InstallOffer::default()));
        assert!(!is_early(v1::InstallOffer { proof, ..v1::InstallOffer::default() }));
    }

    #[tokio::test]
    async fn while_a_look_hangs_nobody_else_is_sent_and_the_scratch_folder_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new("mn:7443", folder.path().join("state"));
        config.worker_program = Some("/bin/false".into());
        let (looker, found) = Looker::new(root(config, v1::InstallOffer::default()));
        let condition = crate::preflight::conditions::INSTALL_NO_ANSWER.found("nothing came");
        let child = tokio::process::Command::new("sleep").arg("100").kill_on_drop(true).spawn().unwrap();
        let hanging = Some(Hanging { seen: Seen::nothing(vec![condition]), child });
        let names = || -> Vec<_> { found.now().conditions.into_iter().map(|condition| condition.name).collect() };
        let mut hanging = looker.look_once(hanging).await;
        assert_eq!(names(), ["scratch-folder", "install-no-answer"]);
        hanging.as_mut().unwrap().child.kill().await.unwrap();
        assert!(looker.look_once(hanging).await.is_none());
        assert_eq!(names(), ["scratch-folder", "install-not-looked-at"]);
    }
}
