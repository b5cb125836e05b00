//! The follower against a coordinator that breaks off in the middle of an answer.

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::*;
use crate::failure::Endpoint;
use crate::follow::samples;
use crate::follow::scripted::{Answer, Script, queue};
use crate::follow::{Link, PENDING_NEWS};
use model::build::BuildState;

fn lines(attempt: u32, first_line: u64, texts: &[&str]) -> v1::LogLines {
    let line = |text: &&str| v1::LogLine { time_ms: 1, stage: "packages".into(), text: (*text).into() };
    v1::LogLines { attempt, first_line, lines: texts.iter().map(line).collect() }
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn each_line_is_admitted_once_whatever_is_repeated() {
    let mut cursor = Cursor::before(None, 1);
    assert_eq!(texts(&cursor.admit(lines(1, 1, &["a", "b"]))), ["a", "b"]);
    assert_eq!(texts(&cursor.admit(lines(1, 1, &["a", "b", "c"]))), ["c"]);
    assert!(cursor.admit(lines(1, 2, &["b", "c"])).lines.is_empty());
    assert_eq!(cursor.request(BuildId::FIRST, true).from_line, 4);
    assert_eq!(cursor.admit(lines(1, 6, &["f"])).missed, 2);
    // The next attempt counts from 1 again, and what is left of the one before comes too late.
    assert_eq!(texts(&cursor.admit(lines(2, 1, &["x"]))), ["x"]);
    assert!(cursor.admit(lines(1, 7, &["g"])).lines.is_empty());
    assert_eq!(cursor, Cursor { attempt: 2, next: 2 });
}

#[test]
fn a_log_can_be_read_from_the_middle() {
    let mut cursor = Cursor::before(None, 5);
    assert_eq!(texts(&cursor.admit(lines(3, 4, &["d", "e"]))), ["e"]);
    assert_eq!(Cursor::before(Attempt::new(2), 0), Cursor { attempt: 2, next: 1 });
}

const QUICK: Limits =
    Limits { first: Duration::from_millis(1), longest: Duration::from_millis(5), give_up: Duration::from_millis(500) };

struct Outcome {
    shown: Vec<String>,
    breaks: usize,
    backs: usize,
    asked: Vec<(u32, u64)>,
    result: Result<(), Failure>,
}

async fn followed(logs: Vec<Vec<Answer<v1::LogLines>>>, builds: Vec<v1::Build>, wanted: Wanted) -> Outcome {
    let script = Script { logs: queue(logs), builds: queue(builds), ..Script::default() };
    let (client, server) = script.play().await;
    let (news, mut received) = mpsc::channel(PENDING_NEWS);
    let result = follow(&client, wanted, QUICK, &Reporter { call: 0, news }).await;
    server.abort();
    let asked = script.asked.lock().unwrap().clone();
    let mut outcome = Outcome { shown: Vec::new(), breaks: 0, backs: 0, asked, result };
    while let Ok(news) = received.try_recv() {
        match news {
            News::Lines(batch) => outcome.shown.extend(texts(&batch).into_iter().map(str::to_owned)),
            News::Link(_, Link::Lost { .. }) => outcome.breaks += 1,
            News::Link(_, Link::Back) => outcome.backs += 1,
            other => panic!("{other:?}"),
        }
    }
    outcome
}

fn wanted(follow: bool) -> Wanted {
    let build = BuildId::new(12).unwrap();
    Wanted { build, cursor: Cursor::before(None, 1), one_attempt: false, follow }
}

fn build_with(state: BuildState, attempts: u32) -> v1::Build {
    let attempts = (1..=attempts).map(|number| {
        let mut attempt = samples::attempt();
        attempt.attempt = Attempt::new(number).unwrap();
        attempt
    });
    samples::build(state, attempts.collect()).build.into()
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_answer_costs_no_line_and_repeats_none() {
    let broken = || Answer::Break(tonic::Status::unavailable("the coordinator restarts"));
    let logs = vec![
        vec![Answer::Item(lines(1, 1, &["a", "b"])), broken()],
        vec![broken()],
        // After the restart it repeats the whole block that line 3 is in.
        vec![Answer::Item(lines(1, 2, &["b", "c"])), Answer::Item(lines(1, 4, &["d"]))],
        vec![],
    ];
    let outcome = followed(logs, vec![build_with(BuildState::Succeeded, 1)], wanted(true)).await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.shown, ["a", "b", "c", "d"]);
    assert_eq!(outcome.asked, [(0, 1), (1, 3), (1, 3), (1, 5)]);
    assert_eq!((outcome.breaks, outcome.backs), (2, 2));
}

#[tokio::test]
async fn a_second_attempt_is_followed_after_the_first() {
    let logs = vec![
        vec![Answer::Item(lines(1, 1, &["a"]))],
        vec![Answer::Item(lines(2, 1, &["b"]))],
        vec![Answer::Item(lines(2, 2, &["packed"]))],
    ];
    let builds = vec![build_with(BuildState::Queued, 2), build_with(BuildState::Succeeded, 2)];
    let outcome = followed(logs, builds, wanted(true)).await;
    assert_eq!(outcome.shown, ["a", "b", "packed"]);
    assert_eq!(outcome.asked, [(0, 1), (2, 1), (2, 2)]);
}

#[tokio::test]
async fn without_following_a_log_ends_where_it_ends() {
    let outcome = followed(vec![vec![Answer::Item(lines(1, 1, &["a"]))]], vec![], wanted(false)).await;
    assert_eq!((outcome.result, outcome.shown), (Ok(()), vec!["a".to_owned()]));
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again_and_patience_ends() {
    let refused = vec![vec![Answer::Break(tonic::Status::permission_denied("viewers only"))]];
    let outcome = followed(refused, vec![], wanted(true)).await;
    assert_eq!((outcome.result.unwrap_err().exit, outcome.breaks), (crate::failure::Exit::Refused, 0));
}

#[tokio::test]
async fn patience_with_a_coordinator_that_stays_away_ends_in_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let client = Client::over(channel, Endpoint { address, identity: "/id".into() });
    let limits = Limits { give_up: Duration::from_millis(30), ..QUICK };
    let (news, received) = mpsc::channel(PENDING_NEWS);
    let failure = follow(&client, wanted(true), limits, &Reporter { call: 0, news }).await.unwrap_err();
    assert!(received.len() > 1);
    assert_eq!(failure.exit, crate::failure::Exit::Unreachable);
    let sentence = failure.sentence.unwrap();
    assert!(sentence.starts_with("gave up after") && sentence.ends_with("connection refused"), "{sentence}");
}
