//! The store on a full disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coordinator::store::osimages::OsimageWrite;
use coordinator::store::tokens::TokenRecord;
use coordinator::store::{Store, StoreError};
use model::agent::AgentRecord;
use model::build::Build;
use model::id::BuildId;
use model::osimage::Osimage;

use crate::disk::Disk;
use crate::{in_here, in_namespace};

/// Changes of state on a full disk; builds of a busy week.
const CHANGES: i32 = 3000;
/// What takes so long never ends.
const HANGS: Duration = Duration::from_secs(60);
/// A commit that takes so long waits for room.
const WAITS: Duration = Duration::from_secs(3);

#[test]
fn on_a_full_disk_builds_go_on_and_new_ones_are_refused() {
    in_namespace("store::full_disk_in_here");
}

#[test]
#[ignore = "runs in the namespace of the other test"]
fn full_disk_in_here() {
    in_here(|disk| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(full(disk));
    });
}

#[test]
fn a_coordinator_starts_on_a_full_disk() {
    in_namespace("store::start_in_here");
}

#[test]
#[ignore = "runs in the namespace of the other test"]
fn start_in_here() {
    in_here(|disk| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(start(disk));
    });
}

#[test]
fn when_the_reserve_is_used_up_writes_wait_and_then_go_on() {
    in_namespace("store::waits_in_here");
}

#[test]
#[ignore = "runs in the namespace of the other test"]
fn waits_in_here() {
    in_here(|disk| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Somebody who takes at once whatever the store gives up for a moment.
            let taker = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    disk.take();
                }
            });
            let over = Over(&done);
            let (store, written) = runtime.block_on(use_up(disk));
            drop(over);
            taker.join().unwrap();
            disk.clear();
            runtime.block_on(go_on(&store, written));
        });
    });
}

/// Ends the other thread, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes what is never refused, until a write waits; its number is the second value.
async fn use_up(disk: &Disk) -> (Store, usize) {
    let (store, mut failed) = Store::open(&disk.path.join("db")).unwrap();
    store.save_build(&build(1, 0)).await.unwrap();
    for number in 0..20_000 {
        let write = async {
            store.save_agent(&agent(number)).await.unwrap();
            change(&store, 1).await;
        };
        if tokio::time::timeout(WAITS, write).await.is_err() {
            assert!(failed.try_recv().is_err(), "the engine stands");
            return (store, number);
        }
    }
    panic!("the reserve never ends");
}

/// There is room. Who asked for the write that waited has gone; it is made all the same.
async fn go_on(store: &Store, waited: usize) {
    tokio::time::timeout(HANGS, change(store, 100)).await.expect("writes go on");
    for number in 0..=waited {
        let name = agent(number).name;
        assert_eq!(store.agent(&name).unwrap(), Some(agent(number)));
    }
}

fn agent(number: usize) -> AgentRecord {
    AgentRecord {
        name: format!("n{number}").parse().unwrap(),
        joined_ms: 1,
        certificate_sha256: "c".repeat(number * 977 % 12_000),
        certificate_expires_ms: 2,
        facts: None,
        last_seen_ms: 0,
        drained: None,
    }
}

async fn full(disk: &Disk) {
    let (store, mut failed) = Store::open(&disk.path.join("db")).unwrap();
    store.add_builds(&[build(1, 0)], &[], "").await.unwrap();
    disk.fill();
    refused(&store).await;
    change(&store, CHANGES).await;
    refused(&store).await;
    disk.clear();
    all_goes_on(&store, 2).await;
    // Whole again, so that it stands the next time too.
    disk.fill();
    change(&store, CHANGES).await;
    refused(&store).await;
    assert!(failed.try_recv().is_err(), "the engine stands");
}

async fn start(disk: &Disk) {
    let path = disk.path.join("db");
    let (store, _failed) = Store::open(&path).unwrap();
    store.add_builds(&[build(1, 0)], &[], "").await.unwrap();
    change(&store, 500).await;
    disk.fill();
    change(&store, 500).await;
    drop(store);
    for _ in 0..3 {
        let (store, _failed) = Store::open(&path).unwrap();
        disk.fill();
        change(&store, 100).await;
        refused(&store).await;
    }
    disk.clear();
    let (store, _failed) = Store::open(&path).unwrap();
    all_goes_on(&store, 2).await;
}

/// Goes on changing build 1, each time with another size.
async fn change(store: &Store, times: i32) {
    let first = store.build(BuildId::FIRST).unwrap().unwrap().priority;
    for version in first + 1..=first + times {
        store.save_build(&build(1, version)).await.unwrap();
    }
    assert_eq!(store.build(BuildId::FIRST).unwrap().unwrap(), build(1, first + times));
}

async fn refused(store: &Store) {
    let next = store.next_build_id().unwrap();
    for refusal in [
        store.add_builds(&[build(next.get(), 0)], &[], "").await,
        store.write_osimages(&[definition()]).await,
        store.add_token("s", &token()).await,
    ] {
        let error = refusal.unwrap_err();
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
        assert!(error.to_string().contains("is full; make room there"), "{error}");
    }
    assert_eq!(store.next_build_id().unwrap(), next);
}

async fn all_goes_on(store: &Store, id: u64) {
    store.add_builds(&[build(id, 0)], &[], "").await.unwrap();
    store.write_osimages(&[definition()]).await.unwrap();
    store.add_token("s", &token()).await.unwrap();
    change(store, 50).await;
}

fn definition() -> OsimageWrite {
    OsimageWrite { before: None, after: Some(Osimage::create("compute".parse().unwrap(), &[], 1).unwrap()) }
}

fn token() -> TokenRecord {
    TokenRecord { agent: None, expires_ms: 1, made_by: "root".parse().unwrap(), used_by: None }
}

fn build(id: u64, version: i32) -> Build {
    let warnings = vec!["w".repeat(version.unsigned_abs() as usize * 977 % 12_000)];
    Build { priority: version, warnings, ..crate::sample::build(BuildId::new(id).unwrap()) }
}
