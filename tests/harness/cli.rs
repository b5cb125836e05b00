//! `imgctl`, as a user runs it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::binary;

/// A way to run `imgctl` against one coordinator with one identity.
#[derive(Debug, Clone)]
pub struct Cli {
    /// Where the coordinator is.
    pub coordinator: String,
    /// Whose identity.
    pub identity: PathBuf,
}

/// What a run left.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Cli {
    /// Runs it with these words, split at blanks.
    pub fn run(&self, words: &str) -> Ran {
        self.run_args(&words.split_whitespace().collect::<Vec<_>>(), b"")
    }

    /// Runs it with these arguments and this standard input.
    pub fn run_args(&self, args: &[&str], stdin: &[u8]) -> Ran {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("imgctl can be started");
        let mut pipe = child.stdin.take().expect("it is piped");
        // It may end before it has read everything.
        let _ = pipe.write_all(stdin);
        drop(pipe);
        let output = child.wait_with_output().expect("imgctl can be waited for");
        let text = |bytes| String::from_utf8(bytes).expect("imgctl writes UTF-8");
        Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The command, for tests that need more of it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("imgctl"));
        command.args(args).env("IMGCTL_COORDINATOR", &self.coordinator).env("IMGCTL_IDENTITY", &self.identity);
        command.env_remove("IMGCTL_CONFIG").env("HOME", "/nonexistent");
        command
    }

    /// Runs it, expects success, and gives what it printed.
    pub fn ok(&self, words: &str) -> String {
        self.run(words).succeeded().out
    }

    /// Runs it with `--json`, expects success, and gives the document.
    pub fn json(&self, words: &str) -> Value {
        let out = self.ok(&format!("{words} --json"));
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("`{words}`: {error} in {out}"))
    }
}

impl Ran {
    /// Panics unless it exited with 0.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.exited(0)
    }

    /// Panics unless it exited with `code`.
    #[track_caller]
    pub fn exited(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Panics unless standard error holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "`{text}` is not in stderr:\n{}\nstdout:\n{}", self.err, self.out);
        self
    }
}

/// How many seconds a stage of the last attempt took.
pub fn took(build: &Value, stage: &str) -> f64 {
    let last = build["attempts"].as_array().and_then(|attempts| attempts.last()).expect("there is an attempt");
    let stages = last["stages"].as_array().expect("it has stages");
    let found =
        stages.iter().find(|entry| entry["stage"] == stage).unwrap_or_else(|| panic!("no {stage} in {build:#}"));
    let ms = |field: &str| found[field].as_i64().unwrap_or_default();
    (ms("ended_ms") - ms("started_ms")) as f64 / 1000.0
}
