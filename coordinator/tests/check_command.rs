//! `imgctl-coordinator check` as an administrator meets it: what it exits with, beside a coordinator that runs and one
//! that doesn't.
#![expect(clippy::unwrap_used, reason = "a test, all of it")]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn coordinator(args: &[&str], config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgctl-coordinator"));
    command.args(args).arg("--config").arg(config).stdin(Stdio::null());
    command
}

fn check(config: &Path, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = coordinator(&[&["check"], args].concat(), config).output().unwrap();
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// Ended with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Started, and ready once it says where it listens.
fn run(config: &Path) -> Running {
    let mut child = coordinator(&["run"], config).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening"), "{line}");
    Running(child)
}

#[test]
fn it_exits_with_0_1_or_3_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let config = at("c.toml");
    let (code, said) = check(&config, &[]);
    assert!(code == Some(3) && said.contains("imgctl-coordinator init"), "{said}");
    let mut init = coordinator(&["init", "--listen", "127.0.0.1:0"], &config);
    init.args(["--state-dir", at("state").to_str().unwrap(), "--install-dir", at("install").to_str().unwrap()]);
    assert!(init.arg("--admin-dir").arg(at("admin")).output().unwrap().status.success());
    let running = run(&config);
    // It has the lock before it makes this one.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !at("state/audit.log").exists() {
        assert!(Instant::now() < deadline, "the coordinator doesn't start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, said) = check(&config, &[]);
    assert!(code == Some(3) && said.contains("a coordinator runs on"), "{said}");
    drop(running);
    let (code, said) = check(&config, &["--repair"]);
    assert!(code == Some(0), "{said}");
    fs::set_permissions(at("state/pki/ca-key.pem"), Permissions::from_mode(0o640)).unwrap();
    let (code, said) = check(&config, &[]);
    assert!(code == Some(1) && said.contains("warning   state"), "{said}");
    let (code, said) = check(&config, &["--repair", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(code == Some(0) && report["findings"][0]["severity"] == "repaired", "{said}");
    assert_eq!(check(&config, &["--digests"]).0, Some(0));
}
