use model::build::{AttemptRecord, BuildState};

use super::*;
use crate::config::Config;
use crate::plans::Plans;
use crate::samples;
use crate::scheduler::{Desk, Parts};

fn build(attempts: u32) -> Build {
    let attempt = |number| AttemptRecord {
        attempt: Attempt::new(number).unwrap(),
        agent: "n1".parse().unwrap(),
        started_ms: 0,
        ended_ms: 0,
        stages: Vec::new(),
        outcome: None,
        last_event: 0,
        staging: ".imgctl/staging/x".into(),
        published: None,
        emulated_on: None,
    };
    Build { attempts: (1..=attempts).map(attempt).collect(), ..samples::build(1) }
}

fn line(text: &str) -> LogLine {
    LogLine { time_ms: 5, stage: "packages".into(), text: text.into() }
}

struct Site {
    dir: tempfile::TempDir,
    store: Store,
    logs: Arc<Logs>,
    scheduler: Scheduler,
    _desk: Desk,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("db")).unwrap();
        let logs = Arc::new(Logs::open(&dir.path().join("logs")).unwrap());
        let plans = Plans::open(&dir.path().join("plans")).unwrap();
        let parts = Parts { config: Arc::new(Config::default()), store: store.clone(), logs: logs.clone(), plans };
        let (desk, scheduler) = Desk::new(parts).unwrap();
        Self { dir, store, logs, scheduler, _desk: desk }
    }

    fn logs_of(
        &self,
        build: &Build,
        request: v1::LogsRequest,
    ) -> Result<ReceiverStream<Result<v1::LogLines, Status>>, Status> {
        follow_logs(build.clone(), request, self.scheduler.clone(), self.store.clone(), self.logs.clone())
    }
}

async fn texts(receiver: &mut mpsc::Receiver<Result<v1::LogLines, Status>>) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(lines) = receiver.recv().await {
        texts.extend(lines.unwrap().lines.into_iter().map(|line| line.text));
    }
    texts
}

#[tokio::test]
async fn what_is_written_just_before_the_end_is_never_lost() {
    let site = Site::new();
    let mut build = build(1);
    site.store.save_build(&build).await.unwrap();
    let id = AttemptId { build: build.id, attempt: Attempt::FIRST };
    let log = site.logs.attempt(id).unwrap();
    log.append(1, &[line("first")]).unwrap();
    let (sender, mut receiver) = mpsc::channel(1);
    // A watcher that is slow: the follower has read the first line and waits to send it.
    sender.send(Ok(v1::LogLines::default())).await.unwrap();
    let follower = Follower {
        build: build.clone(),
        request: v1::LogsRequest { follow: true, ..v1::LogsRequest::default() },
        only: None,
        scheduler: site.scheduler.clone(),
        store: site.store.clone(),
        logs: site.logs.clone(),
        sender,
    };
    let following = tokio::spawn(async move { follower.one(Attempt::FIRST, 1).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    log.append(2, &[line("last")]).unwrap();
    build.state = BuildState::Succeeded;
    site.store.save_build(&build).await.unwrap();
    assert_eq!(texts(&mut receiver).await, ["first", "last"]);
    following.await.unwrap().unwrap();
}

#[tokio::test]
async fn logs_of_a_build_that_has_ended_are_read_and_not_opened() {
    let site = Site::new();
    let mut build = build(2);
    build.state = BuildState::Succeeded;
    site.store.save_build(&build).await.unwrap();
    let id = AttemptId { build: build.id, attempt: Attempt::FIRST };
    site.logs.attempt(id).unwrap().append(1, &[line("a"), line("b")]).unwrap();
    site.logs.end(id);
    site.logs.compress(id).await.unwrap();
    for (attempt, from_line, expected) in [(1, 0, vec!["a", "b"]), (1, 2, vec!["b"]), (2, 0, vec![]), (0, 0, vec![])] {
        let request = v1::LogsRequest { build: 1, attempt, from_line, follow: attempt == 1 };
        let mut stream = site.logs_of(&build, request).unwrap();
        assert_eq!(texts(stream.as_mut()).await, expected, "attempt {attempt} from {from_line}");
    }
    assert!(site.logs.written(id).is_none());
    let files: Vec<_> =
        std::fs::read_dir(site.dir.path().join("logs/1")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["1.log.zst"]);
}

#[tokio::test]
async fn an_attempt_that_the_build_does_not_have_is_not_found() {
    let site = Site::new();
    let request = |attempt| v1::LogsRequest { build: 1, attempt, ..v1::LogsRequest::default() };
    for (attempts, asked, known) in [(2, 2, true), (2, 3, false), (2, 0, true), (0, 1, true), (0, 2, false)] {
        let answer = site.logs_of(&build(attempts), request(asked)).map(|_| ()).map_err(|status| status.code());
        let expected = if known { Ok(()) } else { Err(tonic::Code::NotFound) };
        assert_eq!(answer, expected, "{asked} of {attempts}");
    }
}
