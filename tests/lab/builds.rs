//! Builds that go on while something is done to their node.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Cli, eventually};

/// How long a stage, or a whole build, may take on an emulated machine.
const BUILD: Duration = Duration::from_secs(90 * 60);

/// A build that was queued.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    cli: &'a Cli,
    pub(crate) id: u64,
    pub(crate) began: Instant,
}

impl<'a> Build<'a> {
    /// Queues it.
    pub(crate) fn queue(cli: &'a Cli, osimage: &str) -> Self {
        let said = cli.ok(&format!("build {osimage} --discard-edits --detach"));
        let id = said.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        let id = id.unwrap_or_else(|| panic!("no number of a build in: {said}"));
        Self { cli, id, began: Instant::now() }
    }

    /// Waits until an attempt is in a stage.
    pub(crate) fn is_in(&self, attempt: usize, stage: &str) {
        eventually(&format!("build {} to be in {stage}", self.id), BUILD, || {
            let build = self.show()?;
            let ended = has_ended(&build);
            assert!(!ended, "build {} ended before {stage}: {}", self.id, self.log());
            std::thread::sleep(Duration::from_millis(200));
            let stages = build["attempts"][attempt - 1]["stages"].as_array()?.clone();
            stages.iter().any(|entry| entry["stage"] == stage && entry["status"] == "running").then_some(())
        });
    }

    /// Whether it is in a stage now, in its last attempt.
    pub(crate) fn is_still_in(&self, stage: &str) -> bool {
        let build = self.show().unwrap_or_default();
        let stages = build["attempts"].as_array().and_then(|attempts| attempts.last()?["stages"].as_array().cloned());
        stages.into_iter().flatten().any(|entry| entry["stage"] == stage && entry["status"] == "running")
    }

    /// Waits until its log holds a line with these words.
    pub(crate) fn says(&self, words: &str) {
        eventually(&format!("build {} to say {words}", self.id), BUILD, || {
            std::thread::sleep(Duration::from_millis(500));
            self.log().contains(words).then_some(())
        });
    }

    /// Waits for the end of an attempt, which must not be a good one; says what became of it.
    pub(crate) fn attempt_ends(&self, attempt: usize) -> String {
        eventually(&format!("attempt {attempt} of build {} to end", self.id), BUILD, || {
            std::thread::sleep(Duration::from_secs(1));
            let attempt = self.show()?["attempts"][attempt - 1].clone();
            let outcome = attempt["outcome"].as_str()?.to_owned();
            assert_ne!(outcome, "received", "{attempt:#}");
            Some(outcome)
        })
    }

    /// Waits for its end, which must be a good one at this attempt; gives it.
    pub(crate) fn succeeds(&self, attempts: usize) -> Value {
        let build = eventually(&format!("build {} to end", self.id), BUILD, || {
            std::thread::sleep(Duration::from_secs(1));
            let build = self.show()?;
            has_ended(&build).then_some(build)
        });
        assert_eq!(build["state"]["name"], "succeeded", "build {}:\n{}", self.id, self.log());
        let made = build["attempts"].as_array().map_or(0, Vec::len);
        assert_eq!(made, attempts, "attempts of build {}:\n{build:#}", self.id);
        println!("  build {} took {:.0} s: {}", self.id, self.began.elapsed().as_secs_f64(), stages(&build));
        build
    }

    fn show(&self) -> Option<Value> {
        Some(self.cli.json(&format!("builds show {}", self.id)))
    }

    fn log(&self) -> String {
        self.cli.run(&format!("builds logs {}", self.id)).out
    }
}

/// Whether nothing more will come of a build.
pub(crate) fn has_ended(build: &Value) -> bool {
    ["succeeded", "failed", "cancelled"].iter().any(|name| build["state"]["name"] == *name)
}

/// How long each stage of the last attempt took.
pub(crate) fn stages(build: &Value) -> String {
    let last = build["attempts"].as_array().and_then(|attempts| attempts.last()).cloned().unwrap_or_default();
    let ms = |stage: &Value, field: &str| stage[field].as_i64().unwrap_or_default();
    let one = |stage: &Value| {
        let took = (ms(stage, "ended_ms") - ms(stage, "started_ms")) as f64 / 1000.0;
        format!("{} {took:.1} s", stage["stage"].as_str().unwrap_or_default())
    };
    last["stages"].as_array().map(|stages| stages.iter().map(one).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}
