//! Logs, the audit log and plans on a full disk.

use std::fs;
use std::path::Path;

use coordinator::audit::Audit;
use coordinator::logs::{LogError, LogLine, Logs, attempt_id};
use coordinator::plans::Plans;
use model::id::{Attempt, AttemptId, BuildId};
use model::plan::{BuildPlan, PLAN_VERSION};
use model::role::{Caller, Role};

use crate::disk::Disk;
use crate::{in_here, in_namespace};

#[test]
fn on_a_full_disk_logs_stay_whole_and_go_on_where_they_were() {
    in_namespace("logs::logs_in_here");
}

#[test]
#[ignore = "runs in the namespace of the other test"]
fn logs_in_here() {
    in_here(|disk| {
        // With nothing left to others the system itself refuses, in the middle of a line.
        for left in [coordinator::room::FOR_LOGS, 0] {
            push(disk, left);
        }
        compress(disk);
        cut_short(disk);
    });
}

#[test]
fn on_a_full_disk_no_half_plan_and_no_half_line_of_the_audit_log_is_left() {
    in_namespace("logs::others_in_here");
}

#[test]
#[ignore = "runs in the namespace of the other test"]
fn others_in_here() {
    in_here(|disk| {
        audit(disk);
        plan(disk);
    });
}

fn id() -> AttemptId {
    attempt_id(BuildId::FIRST, Attempt::FIRST)
}

fn lines(from: u64, to: u64) -> Vec<LogLine> {
    let text = |number: u64| format!("{number} {}", "x".repeat(5000));
    (from..=to).map(|number| LogLine { time_ms: 1, stage: "packages".into(), text: text(number) }).collect()
}

fn push(disk: &Disk, left: u64) {
    let dir = disk.path.join(format!("logs-{left}"));
    let logs = Logs::open(&dir).unwrap().leaving(left);
    let log = logs.attempt(id()).unwrap();
    assert_eq!(log.append(1, &lines(1, 20)).unwrap(), 21);
    disk.fill();
    for _ in 0..3 {
        let refused = log.append(21, &lines(21, 40)).unwrap_err();
        let by_us = matches!(refused, LogError::Full(_));
        assert_eq!(by_us, left > 0, "{refused:?}");
        assert_eq!(log.head().borrow().lines, 20);
        let text = fs::read(dir.join("1/1.log")).unwrap();
        assert!(text.ends_with(b"\n") && text.iter().filter(|byte| **byte == b'\n').count() == 20);
    }
    disk.clear();
    assert_eq!(log.append(19, &lines(19, 40)).unwrap(), 41);
    assert_eq!(logs.read(id(), 1).read(u64::MAX).unwrap(), (1, lines(1, 40)));
    // What came in the end doesn't count as missing.
    logs.end(id());
    assert_eq!(logs.tail(id(), 1), lines(40, 40));
}

/// Of an attempt that ended while the disk was full, the plain log stays.
fn compress(disk: &Disk) {
    let dir = disk.path.join("compressed");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for left in [coordinator::room::FOR_LOGS, 0] {
        let logs = Logs::open(&dir).unwrap().leaving(left);
        let next = logs.attempt(id()).unwrap().head().borrow().lines + 1;
        logs.attempt(id()).unwrap().append(next, &lines(1, 200)).unwrap();
        disk.fill();
        assert!(runtime.block_on(logs.compress(id())).is_err());
        assert_eq!(names(&dir.join("1")), ["1.log"]);
        disk.clear();
        assert_eq!(logs.tail(id(), 200), lines(1, 200)[200 - logs.tail(id(), 200).len()..]);
    }
    let logs = Logs::open(&dir).unwrap();
    runtime.block_on(logs.compress(id())).unwrap();
    assert_eq!(names(&dir.join("1")), ["1.log.zst"]);
}

/// A log that ends without what the disk had no room for says so.
fn cut_short(disk: &Disk) {
    for by_a_note in [false, true] {
        let logs = Logs::open(&disk.path.join(format!("short-{by_a_note}"))).unwrap();
        let log = logs.attempt(id()).unwrap();
        log.append(1, &lines(1, 1)).unwrap();
        disk.fill_but(4 << 20);
        assert!(log.append(2, &lines(2, 2)).is_err());
        if by_a_note {
            log.note(LogLine { time_ms: 1, stage: "receive".into(), text: "received".into() }).unwrap();
        }
        logs.end(id());
        let texts: Vec<String> = logs.tail(id(), 9).into_iter().map(|line| line.text).collect();
        assert!(texts[1].starts_with("(the rest of the log is missing"), "{texts:?}");
        assert_eq!(texts.len(), if by_a_note { 3 } else { 2 }, "{texts:?}");
        disk.clear();
    }
}

fn audit(disk: &Disk) {
    let path = disk.path.join("audit.log");
    let audit = Audit::open(&path).unwrap();
    let caller = Caller { name: "root".parse().unwrap(), role: Role::Admin };
    let whole = || {
        fs::read_to_string(&path).unwrap().lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    };
    // So that the next lines begin in a block that is there, and end in one that isn't.
    audit.note(&caller, "before", "");
    disk.fill();
    // Lines of odd lengths, so that one of them meets the end of the last block in its middle.
    for number in 0..40 {
        audit.note(&caller, &"n".repeat(333), &number.to_string());
        assert!(whole());
    }
    disk.clear();
    audit.note(&caller, "again", "");
    assert!(whole() && fs::read_to_string(&path).unwrap().contains("again"));
}

fn plan(disk: &Disk) {
    let dir = disk.path.join("plans");
    let plans = Plans::open(&dir).unwrap();
    let plan = a_plan();
    disk.fill();
    assert!(plans.keep(&plan).is_err());
    assert_eq!(names(&dir), [""; 0]);
    disk.clear();
    let digest = plans.keep(&plan).unwrap();
    assert_eq!(names(&dir), [digest]);
}

fn a_plan() -> BuildPlan {
    let plan = serde_json::json!({
        "version": PLAN_VERSION, "osimage": "compute", "revision": 1, "osvers": "debian12", "osarch": "x86_64",
        "arch": "x86_64", "profile": "compute", "provmethod": "netboot", "rootimgdir": "/install/r",
        "install_dir": "/install", "packages": {"kind": "zypper"}, "repositories": [], "other_repositories": [],
        "passes": [], "other_passes": [], "environment": {}, "kernel": {"kind": "only"}, "drivers": {},
        "postinstall": [], "interfaces": {"boot": null, "others": []}, "script_environment": {}, "needs_install": [],
        "attributes": [], "warnings": ["x".repeat(9000)],
    });
    serde_json::from_value(plan).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
