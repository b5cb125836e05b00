//! What can't be brought about from outside: a fault of the agent's own.

use std::time::Duration;

use super::*;
use crate::journal::parse_attempt;

const PATIENCE: Duration = Duration::from_secs(60);

fn config(state: &std::path::Path) -> Arc<Config> {
    let mut config = Config::new("nowhere:1", state);
    config.install = crate::config::Install::None;
    Arc::new(config)
}

/// The next event that is said, past what the preflight found.
async fn event(said: &mut mpsc::Receiver<v1::AgentMessage>) -> Option<v1::event::Event> {
    loop {
        if let Some(ToCoordinator::Event(event)) = said.recv().await?.message {
            return event.event;
        }
    }
}

#[tokio::test]
async fn a_task_that_panics_gives_its_slot_back_and_its_attempt_is_lost() {
    let state = tempfile::tempdir().unwrap();
    let config = config(state.path());
    let journal = Journal::open(&config.journal()).unwrap();
    let (_sender, link) = Link::new();
    let facts = Arc::new(Facts::gather());
    let (mut driver, tell) = Driver::new(config.clone(), facts, journal, link, "test".to_owned()).unwrap();
    let (broken, next) = (parse_attempt("7.2").unwrap(), parse_attempt("8.1").unwrap());
    std::fs::create_dir_all(config.scratch().join("7.2/out")).unwrap();
    driver.hands.insert(Hand { running: true, ..Hand::at_rest(Entry::new(broken, String::new())) });
    let task = driver.tasks.spawn(async { panic!("the test said so") });
    driver.carried.insert(task.id(), broken);
    let (out, mut said) = mpsc::channel(100);
    let resume = vec![v1::EventAck { attempt: Some(reference(broken)), number: 0 }];
    let welcome = v1::Welcome { resume, ..v1::Welcome::default() };
    tell.send(Message::Welcome { welcome, out }).await.unwrap();
    let assign = v1::Assign { attempt: Some(reference(next)), ..v1::Assign::default() };
    tell.send(Message::Said(FromCoordinator::Assign(assign))).await.unwrap();
    let driver = tokio::spawn(driver.run(CancellationToken::new()));

    let heard = tokio::time::timeout(PATIENCE, event(&mut said)).await.unwrap();
    let Some(v1::event::Event::Lost(lost)) = heard else { panic!("{heard:?}") };
    assert!(lost.reason.contains("a fault of imgctl") && lost.reason.contains("the test said so"), "{}", lost.reason);
    assert!(!config.scratch().join("7.2").exists());
    // The slot is free: what waited for it starts, and is written down.
    let started = async {
        while !config.journal().join("8.1.json").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, started).await.unwrap();
    driver.abort();
}

/// An earlier run left `log` of an attempt that is over; gives what the coordinator hears of it first.
async fn first_event_after(log: &str, patience: Duration) -> Option<v1::event::Event> {
    let state = tempfile::tempdir().unwrap();
    let config = config(state.path());
    let journal = Journal::open(&config.journal()).unwrap();
    let over = parse_attempt("7.2").unwrap();
    let mut entry = Entry::new(over, String::new());
    entry.record(What::Lost { reason: "the test said so".to_owned() });
    journal.write(&entry).unwrap();
    let folder = spool::folder(&config.spool(), over);
    spool::make(&folder).unwrap();
    std::fs::write(spool::log(&folder), log).unwrap();
    let (_sender, link) = Link::new();
    let facts = Arc::new(Facts::gather());
    let (driver, tell) = Driver::new(config, facts, journal, link, "test".to_owned()).unwrap();
    let (out, mut said) = mpsc::channel(100);
    let resume = vec![v1::EventAck { attempt: Some(reference(over)), number: 0 }];
    tell.send(Message::Welcome { welcome: v1::Welcome { resume, ..v1::Welcome::default() }, out }).await.unwrap();
    let driver = tokio::spawn(driver.run(CancellationToken::new()));
    let heard = tokio::time::timeout(patience, event(&mut said)).await;
    driver.abort();
    heard.ok().flatten()
}

#[tokio::test]
async fn a_last_event_waits_for_the_lines_of_its_log_and_not_for_a_torn_one() {
    assert!(first_event_after("{\"t\":1,\"s\":\"packages\",\"x\":\"to", PATIENCE).await.is_some());
    // There is no coordinator that could take the line.
    assert!(first_event_after("{\"t\":1,\"s\":\"packages\",\"x\":\"\"}\n", Duration::from_secs(1)).await.is_none());
}
