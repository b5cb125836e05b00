//! Another generation goes live by hand: what it waits for, and what waits for it.

use std::path::PathBuf;

use model::build::{Artefact, PublishedArchive};
use model::generation::{GenerationRecord, GenerationState};

use super::*;
use crate::scheduler::{Refused, desk};

#[tokio::test]
async fn nothing_goes_live_by_hand_where_a_build_is_received_or_packed() {
    let dir = tempfile::tempdir().unwrap();
    let parts = parts(dir.path());
    let mut build = desk::queued(model::id::BuildId::FIRST, wanted(&parts));
    build.state = BuildState::Packing { generation: Generation::FIRST };
    parts.store.save_build(&build).await.unwrap();
    let (mut desk, _scheduler) = Desk::new(parts).unwrap();
    let place = build.rootimgdir.clone();
    let activate = |desk: &mut Desk| {
        let (answer, mut answered) = tokio::sync::oneshot::channel();
        desk.activate(place.clone(), Generation::FIRST.into(), answer).unwrap();
        answered.try_recv().expect("it is refused at once").unwrap_err()
    };
    desk.active.values_mut().for_each(|active| active.work = Some(Arc::default()));
    let refused = activate(&mut desk);
    assert!(matches!(refused, Refused::Working(..)), "{refused}");
    desk.active.values_mut().for_each(|active| active.work = None);
    let refused = activate(&mut desk);
    assert!(matches!(refused, Refused::NotLive(_)), "{refused}");
}

/// A packed generation whose kernel lies on a disk that hangs: a pipe that nobody writes to.
struct Hung {
    place: PathBuf,
    kernel: PathBuf,
}

impl Hung {
    async fn in_site(site: &Site) -> Self {
        let place = wanted(&site.parts).rootimgdir;
        let folder = place.join(".generations/1");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("rootimg.cpio.gz"), "").unwrap();
        let kernel = folder.join("kernel");
        rustix::fs::mkfifoat(rustix::fs::CWD, &kernel, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        let digest = Some(rootfs::digest::Digest::of(b"").to_string());
        let artefacts = vec![Artefact { name: "kernel".into(), path: kernel.clone(), bytes: 0, digest }];
        // Of a build that nobody asks for any more.
        let build = Build { state: BuildState::Succeeded, ..samples::build(99) };
        let record = GenerationRecord {
            number: Generation::FIRST,
            osimage: build.osimage.clone(),
            build: build.id,
            rootimgdir: place.clone(),
            state: GenerationState::Packed,
            tree_of: None,
            built_ms: 0,
            packed_ms: 0,
            kernel_version: String::new(),
            agent: agent(),
            packages: 0,
            emulated_on: None,
            artefacts,
        };
        site.parts.store.save_generations(&build, &[record], &[]).await.unwrap();
        Self { place, kernel }
    }

    /// The disk answers.
    fn wake(&self) {
        // Opening it waits for the reader.
        drop(std::fs::OpenOptions::new().write(true).open(&self.kernel).unwrap());
    }

    fn live(&self) -> Option<PathBuf> {
        std::fs::read_link(self.place.join("current")).ok()
    }
}

impl Drop for Hung {
    /// A test that fails ends too.
    fn drop(&mut self) {
        // For both, it waits for nobody.
        drop(std::fs::OpenOptions::new().read(true).write(true).open(&self.kernel));
    }
}

#[tokio::test]
async fn a_disk_that_hangs_under_a_generation_to_go_live_holds_up_its_rootimgdir_alone() {
    let site = Site::start(&[]).await;
    let hung = Hung::in_site(&site).await;
    let (_, mut orders) = site.greet(Vec::new()).await;
    let (scheduler, place) = (site.scheduler.clone(), hung.place.clone());
    let activated = tokio::spawn(async move { scheduler.activate(place, Generation::FIRST.into()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answered = tokio::time::timeout(PATIENCE, site.scheduler.agents()).await;
    assert_eq!(answered.expect("the desk goes on").unwrap().len(), 1);
    let refused = site.scheduler.activate(hung.place.clone(), Generation::FIRST.into()).await.unwrap_err();
    assert!(matches!(refused, Refused::Switching(..)), "{refused}");
    let build = site.submit().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(orders.try_recv().is_err(), "nothing starts there meanwhile");
    let view = site.scheduler.watch(build.id).await.unwrap().unwrap();
    let why = view.borrow().waiting_for.clone();
    assert!(why.starts_with("generation 1, which is being put live in "), "{why}");
    assert!(!activated.is_finished() && hung.live().is_none());
    hung.wake();
    let switched = activated.await.unwrap().unwrap();
    assert_eq!((switched.from, switched.to), (None, Generation::FIRST.into()));
    assert_eq!(hung.live().unwrap(), std::path::Path::new(".generations/1"));
    assert!(assigned(&order(&mut orders).await).is_some());
    site.end().await;
}

#[tokio::test]
async fn what_is_published_while_a_generation_goes_live_is_received_afterwards() {
    let site = Site::start(&[]).await;
    let hung = Hung::in_site(&site).await;
    let (welcome, mut orders) = site.greet(Vec::new()).await;
    site.submit().await;
    order(&mut orders).await;
    let (scheduler, place) = (site.scheduler.clone(), hung.place.clone());
    let activated = tokio::spawn(async move { scheduler.activate(place, Generation::FIRST.into()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let archive = PublishedArchive {
        digest: "none".into(),
        bytes: 0,
        kernel_version: String::new(),
        packages: 0,
        initrds: Vec::new(),
        warnings: Vec::new(),
    };
    site.say(welcome.session, attempt(1), 1, What::Published(archive)).await;
    assert_eq!(order(&mut orders).await, ToAgent::Ack(attempt(1), 1));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(matches!(site.state(1), BuildState::Leased { .. }), "{:?}", site.state(1));
    hung.wake();
    activated.await.unwrap().unwrap();
    // That it can't be is how receiving shows here.
    site.until(1, "received", |state| matches!(state, BuildState::Failed { .. })).await;
    site.end().await;
}

#[tokio::test]
async fn a_generation_does_not_go_live_for_a_caller_who_has_gone() {
    let site = Site::start(&[]).await;
    let hung = Hung::in_site(&site).await;
    let asked = site.scheduler.activate(hung.place.clone(), Generation::FIRST.into());
    assert!(tokio::time::timeout(Duration::from_millis(100), asked).await.is_err());
    // Until the desk has looked.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    hung.wake();
    let again = loop {
        let (scheduler, place) = (site.scheduler.clone(), hung.place.clone());
        let again = tokio::spawn(async move { scheduler.activate(place, Generation::FIRST.into()).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !again.is_finished() {
            break again;
        }
    };
    assert_eq!(hung.live(), None);
    hung.wake();
    again.await.unwrap().unwrap();
    assert!(hung.live().is_some());
    site.end().await;
}
