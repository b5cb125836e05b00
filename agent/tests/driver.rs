//! The driver without a coordinator: what it answers to what it is told. Its attempts wait for a connection that
//! never comes, so they last until they are ended. No root, no network.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::AgentError;
use agent::config::{Config, Install};
use agent::driver::{Driver, Message};
use agent::event::{What, reference};
use agent::inspect::Facts;
use agent::journal::{Journal, parse_attempt};
use agent::link::Link;
use agent::preflight::conditions::COORDINATOR_CLOCK;
use agent::worker::report::now_ms;
use model::id::AttemptId;
use model::stage::Stage;
use proto::v1;
use proto::v1::agent_message::Message as FromAgent;
use proto::v1::coordinator_message::Message as ToAgent;
use proto::v1::event::Event as Wire;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A driver with one slot, and both ends of its session.
struct Rig {
    config: Arc<Config>,
    _state: tempfile::TempDir,
    tell: mpsc::Sender<Message>,
    said: mpsc::Receiver<v1::AgentMessage>,
    out: mpsc::Sender<v1::AgentMessage>,
    shutdown: CancellationToken,
    driver: tokio::task::JoinHandle<()>,
    _link: Box<dyn std::any::Any>,
}

fn id(text: &str) -> AttemptId {
    parse_attempt(text).unwrap()
}

impl Rig {
    async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::new("nowhere:1", state.path());
        config.install = Install::None;
        let config = Arc::new(config);
        let journal = Journal::open(&config.journal()).map_err(AgentError::from).unwrap();
        let (sender, link) = Link::new();
        let facts = Arc::new(Facts::gather());
        let (driver, tell) = Driver::new(config.clone(), facts, journal, link, "test".to_owned()).unwrap();
        let shutdown = CancellationToken::new();
        let driver = tokio::spawn(driver.run(shutdown.clone()));
        let (out, said) = mpsc::channel(100);
        let rig = Self { config, _state: state, tell, said, out, shutdown, driver, _link: Box::new(sender) };
        rig.welcome(&[]);
        rig
    }

    /// What is told without a pause is heard before anything that follows from it.
    fn tell(&self, message: Message) {
        self.tell.try_send(message).unwrap();
    }

    fn welcome(&self, resume: &[&str]) {
        let resume = resume.iter().map(|attempt| v1::EventAck { attempt: Some(reference(id(attempt))), number: 0 });
        let welcome = v1::Welcome { resume: resume.collect(), ..v1::Welcome::default() };
        self.tell(Message::Welcome { welcome, out: self.out.clone() });
    }

    fn assign(&self, attempt: &str) {
        self.assign_at(attempt, 0);
    }

    /// With what the coordinator's clock shows.
    fn assign_at(&self, attempt: &str, time_ms: i64) {
        let assign = v1::Assign { attempt: Some(reference(id(attempt))), time_ms, ..v1::Assign::default() };
        self.tell(Message::Said(ToAgent::Assign(assign)));
    }

    fn drop(&self, attempt: &str) {
        let drop = v1::Drop { attempt: Some(reference(id(attempt))), reason: String::new() };
        self.tell(Message::Said(ToAgent::Drop(drop)));
    }

    /// What it would say to begin a session with.
    async fn hello(&self) -> v1::Hello {
        let (answer, hello) = oneshot::channel();
        self.tell(Message::Hello(answer));
        hello.await.unwrap()
    }

    /// What it would say it has in hand.
    async fn running(&self) -> Vec<v1::AttemptRef> {
        self.hello().await.running
    }

    /// The next event: of which attempt, its number, what.
    async fn event(&mut self) -> (String, u64, Wire) {
        loop {
            let said = tokio::time::timeout(PATIENCE, self.said.recv()).await.expect("nothing is said").unwrap();
            if let Some(FromAgent::Event(event)) = said.message {
                let of = agent::event::attempt(event.attempt).unwrap().to_string();
                return (of, event.number, event.event.unwrap());
            }
        }
    }

    /// Waits for a survey that tells of a clock that is wrong.
    async fn is_told_of_the_clock(&mut self) {
        loop {
            let said = tokio::time::timeout(PATIENCE, self.said.recv()).await.expect("nothing is said").unwrap();
            match said.message {
                Some(FromAgent::Survey(survey)) if has_clock(&survey.conditions) => return,
                _ => {}
            }
        }
    }

    async fn dropped(&mut self, attempt: &str) {
        let (of, number, what) = self.event().await;
        assert!(of == attempt && number == 1 && matches!(what, Wire::Dropped(_)), "{of} {number} {what:?}");
    }

    async fn lost(&mut self, attempt: &str) -> String {
        let (of, _, what) = self.event().await;
        assert_eq!(of, attempt, "{what:?}");
        let Wire::Lost(lost) = what else { panic!("{what:?}") };
        lost.reason
    }

    fn in_journal(&self, attempt: &str) -> bool {
        self.config.journal().join(format!("{attempt}.json")).exists()
    }

    async fn settled(&self, fact: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !fact(self) {
            assert!(tokio::time::Instant::now() < deadline, "it never came true");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn has_clock(found: &[v1::Condition]) -> bool {
    found.iter().any(|condition| condition.name == COORDINATOR_CLOCK.name)
}

#[tokio::test]
async fn a_clock_is_judged_before_each_attempt() {
    let mut rig = Rig::start().await;
    let known = async |rig: &Rig| has_clock(&rig.hello().await.facts.unwrap().conditions);
    assert!(!known(&rig).await, "the welcome said no time");
    rig.assign_at("7.1", now_ms() - 90_000);
    rig.is_told_of_the_clock().await;
    // A coordinator that doesn't say proves nothing.
    rig.assign_at("8.1", 0);
    assert!(known(&rig).await);
    rig.assign_at("9.1", now_ms());
    assert!(!known(&rig).await, "it was set right");
}

#[tokio::test]
async fn an_assignment_waits_for_the_slot_of_a_dropped_attempt() {
    let mut rig = Rig::start().await;
    rig.assign("7.2");
    rig.settled(|rig| rig.in_journal("7.2")).await;
    rig.drop("7.2");
    rig.assign("8.1");
    // Said twice, it waits once.
    rig.assign("8.1");
    assert_eq!(rig.running().await, [reference(id("7.2")), reference(id("8.1"))]);
    assert!(!rig.in_journal("8.1"), "it is written down when it starts");
    rig.dropped("7.2").await;
    rig.settled(|rig| rig.in_journal("8.1")).await;
    assert!(rig.said.try_recv().is_err());
}

#[tokio::test]
async fn an_attempt_that_welcome_does_not_name_is_reported_gone() {
    let mut rig = Rig::start().await;
    rig.assign("7.2");
    rig.settled(|rig| rig.in_journal("7.2")).await;
    rig.tell(Message::Closed);
    rig.welcome(&[]);
    rig.assign("8.1");
    rig.dropped("7.2").await;
    rig.settled(|rig| rig.in_journal("8.1") && !rig.in_journal("7.2")).await;
}

#[tokio::test]
async fn a_removed_agent_drops_what_runs_and_what_waits_and_one_that_is_cut_off_does_not() {
    let rig = Rig::start().await;
    rig.assign("7.2");
    rig.assign("8.1");
    rig.settled(|rig| rig.in_journal("7.2")).await;
    std::fs::create_dir_all(rig.config.scratch().join("7.2/out")).unwrap();
    rig.tell(Message::Closed);
    assert_eq!(rig.running().await.len(), 2);
    rig.tell(Message::Removed);
    rig.settled(|rig| !rig.in_journal("7.2") && !rig.config.scratch().join("7.2").exists()).await;
    assert_eq!(rig.running().await, []);
}

#[tokio::test]
async fn what_waits_goes_on_waiting_over_a_break_only_if_it_is_wanted() {
    let mut rig = Rig::start().await;
    rig.assign("7.2");
    rig.assign("8.1");
    rig.tell(Message::Closed);
    rig.welcome(&["7.2", "8.1"]);
    assert_eq!(rig.running().await.len(), 2);
    rig.welcome(&["7.2"]);
    rig.dropped("8.1").await;
    assert_eq!(rig.running().await, [reference(id("7.2"))]);
}

#[tokio::test]
async fn a_waiting_attempt_can_be_dropped() {
    let mut rig = Rig::start().await;
    rig.assign("7.2");
    rig.assign("8.1");
    rig.drop("8.1");
    rig.dropped("8.1").await;
    rig.drop("7.2");
    rig.dropped("7.2").await;
    // Until that is acknowledged, the one is in hand, and the other was never begun.
    assert_eq!(rig.running().await, [reference(id("7.2"))]);
}

#[tokio::test]
async fn no_more_wait_than_there_are_slots() {
    let mut rig = Rig::start().await;
    for attempt in ["7.2", "8.1", "9.1"] {
        rig.assign(attempt);
    }
    assert_eq!(rig.lost("9.1").await, "all 1 slots of the agent are taken");
}

#[tokio::test]
async fn a_stopping_agent_reports_what_runs_and_what_waits() {
    let mut rig = Rig::start().await;
    rig.assign("7.2");
    rig.assign("8.1");
    assert_eq!(rig.running().await.len(), 2);
    rig.shutdown.cancel();
    for attempt in ["8.1", "7.2"] {
        assert_eq!(rig.lost(attempt).await, "the agent was stopped");
    }
    for attempt in ["7.2", "8.1"] {
        let ack = v1::EventAck { attempt: Some(reference(id(attempt))), number: 1 };
        rig.tell(Message::Said(ToAgent::Ack(ack)));
    }
    rig.driver.await.unwrap();
    assert!(std::fs::read_dir(rig.config.journal()).unwrap().next().is_none());
}

#[tokio::test]
async fn what_a_stopping_agent_gives_up_is_told_before_it_is_cleared_and_told_once() {
    let mut rig = Rig::start().await;
    rig.assign("7.2");
    rig.settled(|rig| rig.in_journal("7.2")).await;
    // The task of it is at its end twice: once the test says so, and once it is.
    rig.shutdown.cancel();
    rig.tell(Message::Stopped(id("7.2")));
    assert_eq!(rig.lost("7.2").await, "the agent was stopped");
    let ack = v1::EventAck { attempt: Some(reference(id("7.2"))), number: 1 };
    rig.tell(Message::Said(ToAgent::Ack(ack)));
    rig.driver.await.unwrap();
    while let Ok(said) = rig.said.try_recv() {
        assert!(!matches!(said.message, Some(FromAgent::Event(_))), "{said:?}");
    }
    assert!(std::fs::read_dir(rig.config.journal()).unwrap().next().is_none());
}

/// Stands in for a full disk: nothing can be written there.
fn take_away(folder: &Path) {
    std::fs::rename(folder, folder.with_extension("away")).unwrap();
}

#[tokio::test]
async fn a_journal_that_can_not_be_written_ends_the_attempt_and_not_the_agent() {
    let mut rig = Rig::start().await;
    rig.assign("7.2");
    rig.settled(|rig| rig.in_journal("7.2")).await;
    take_away(&rig.config.journal());
    rig.tell(Message::Happened(id("7.2"), What::StageStarted(Stage::Packages)));
    let (of, number, what) = rig.event().await;
    assert!(of == "7.2" && number == 1 && matches!(what, Wire::StageStarted(_)), "{what:?}");
    let reason = rig.lost("7.2").await;
    assert!(reason.starts_with("cannot write the journal `"), "{reason}");
    // Nothing of this one can be written down, so it is not begun.
    rig.assign("8.1");
    let reason = rig.lost("8.1").await;
    assert!(reason.starts_with("cannot write the journal `"), "{reason}");
    // As long as they are not heard, they are said again.
    rig.welcome(&["7.2", "8.1"]);
    let again = [rig.event().await, rig.event().await, rig.event().await];
    assert_eq!(
        again.map(|(of, number, _)| (of, number)),
        [("7.2", 1), ("7.2", 2), ("8.1", 1)].map(|(of, n)| (of.to_owned(), n))
    );
    std::fs::create_dir(rig.config.journal()).unwrap();
    rig.assign("9.1");
    rig.settled(|rig| rig.in_journal("9.1")).await;
}
