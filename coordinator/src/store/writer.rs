//! The one writer: takes commits from a queue, joins what waits into one batch, syncs once, then answers all.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use super::journal::{Guard, Journal, Op};

/// Commits that may wait; callers beyond it wait to enqueue. A commit takes a millisecond or so on a slow disk.
const QUEUE: usize = 256;
/// Commits joined into one sync at most, so that the first of them isn't kept waiting.
const GROUP: usize = 64;
/// How often a write that the disk has no room for is tried.
const NO_ROOM: Duration = Duration::from_millis(500);

struct Commit {
    guards: Vec<Guard>,
    ops: Vec<Op>,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

/// The way to the writer's thread; the thread ends when every clone is gone.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Commit>,
}

impl Writer {
    /// Starts the thread. A thread of its own, as the engine blocks and drops of it block on a flush.
    pub(super) fn start(journal: Arc<Journal>) -> (Self, oneshot::Receiver<StoreError>) {
        let (queue, commits) = mpsc::channel(QUEUE);
        let (failed, failure) = oneshot::channel();
        thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                if let Err(error) = write(&journal, commits) {
                    // Nobody listens when the daemon is already on its way out.
                    let _ = failed.send(error);
                }
            })
            .expect("a thread can be started when the daemon starts");
        (Self { queue }, failure)
    }

    pub(super) async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Commit { guards, ops, answer }).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

fn write(journal: &Journal, mut commits: mpsc::Receiver<Commit>) -> Result<(), StoreError> {
    let mut group = Vec::with_capacity(GROUP);
    while commits.blocking_recv_many(&mut group, GROUP) > 0 {
        let (batch, accepted) = admit(journal, group.drain(..))?;
        if !batch.is_empty() {
            if !wait_for_room(journal, &batch, &commits) {
                return Ok(());
            }
            // A failed sync is never retried: what the kernel dropped, a second sync would call written.
            journal.apply(&batch)?;
        }
        // Also what has nothing to write comes here: it may be the one that asks whether there is room again.
        journal.renew_room();
        for answer in accepted {
            // The caller may have gone away; the commit stands all the same.
            let _ = answer.send(Ok(()));
        }
    }
    Ok(())
}

/// Waits until the disk has room for a batch; false if by then nobody is left who wants it written.
fn wait_for_room(journal: &Journal, batch: &[Op], commits: &mpsc::Receiver<Commit>) -> bool {
    let mut said = false;
    while !journal.make_room(batch) {
        if !said {
            tracing::error!(store = %journal.dir().display(), "the disk is full, and so is the store's reserve; its writes wait");
        }
        said = true;
        if commits.is_closed() {
            return false;
        }
        thread::sleep(NO_ROOM);
    }
    if said {
        tracing::info!("the store writes again");
    }
    true
}

type Answers = Vec<oneshot::Sender<Result<(), StoreError>>>;

/// Checks each commit's guards against the store and what the group has written before it.
fn admit(journal: &Journal, group: impl Iterator<Item = Commit>) -> Result<(Vec<Op>, Answers), StoreError> {
    let mut pending: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
    let (mut batch, mut accepted) = (Vec::new(), Vec::new());
    for commit in group {
        match broken(journal, &pending, &commit.guards)? {
            Some(guard) => {
                let what = format!("`{}`", guard.key.escape_ascii());
                let _ = commit.answer.send(Err(StoreError::Conflict { what }));
            }
            None => {
                for op in &commit.ops {
                    match op {
                        Op::Put { key, value } => pending.insert(key.clone(), Some(value.clone())),
                        Op::Delete { key } => pending.insert(key.clone(), None),
                    };
                }
                batch.extend(commit.ops);
                accepted.push(commit.answer);
            }
        }
    }
    Ok((batch, accepted))
}

fn broken<'a>(
    journal: &Journal,
    pending: &HashMap<Vec<u8>, Option<Vec<u8>>>,
    guards: &'a [Guard],
) -> Result<Option<&'a Guard>, StoreError> {
    for guard in guards {
        let now = match pending.get(&guard.key) {
            Some(value) => value.clone(),
            None => journal.get(&guard.key)?,
        };
        if now != guard.expected {
            return Ok(Some(guard));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_two_that_expect_the_same_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(Journal::open(&dir.path().join("db")).unwrap());
        let (writer, _failed) = Writer::start(journal.clone());
        let claim = |value: &str| {
            let guard = Guard { key: b"k".to_vec(), expected: None };
            writer.commit(vec![guard], vec![Op::Put { key: b"k".to_vec(), value: value.into() }])
        };
        let (first, second) = tokio::join!(claim("1"), claim("2"));
        assert!(first.is_ok());
        assert!(matches!(second, Err(StoreError::Conflict { .. })), "{second:?}");
        assert_eq!(journal.get(b"k").unwrap(), Some(b"1".to_vec()));
    }

    #[tokio::test]
    async fn a_refused_commit_in_a_group_writes_none_of_its_records() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(Journal::open(&dir.path().join("db")).unwrap());
        let (writer, _failed) = Writer::start(journal.clone());
        let guard = Guard { key: b"absent".to_vec(), expected: Some(b"x".to_vec()) };
        let ops = vec![Op::Put { key: b"a".to_vec(), value: b"1".to_vec() }];
        assert!(writer.commit(vec![guard], ops).await.is_err());
        assert_eq!(journal.get(b"a").unwrap(), None);
    }
}
