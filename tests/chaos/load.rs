//! Users at work while the storm rages: they queue builds, follow some, cancel some, and remember every verdict.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tests::{Cli, Ran};

use crate::call::Call;
use crate::dice::Dice;
use crate::story::Story;

/// How long a call that isn't a follower may take: the longest fault, and the longest wait between two tries.
const CALL: Duration = Duration::from_secs(60);

/// Builds that wait or run at once.
const ACTIVE: usize = 6;

/// Followers at once.
const FOLLOWERS: usize = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) cli: Cli,
    pub(crate) images: Vec<String>,
    pub(crate) dice: Dice,
    pub(crate) story: Story,
    /// For the output of calls.
    pub(crate) folder: PathBuf,
    pub(crate) seen: Seen,
    pub(crate) following: Vec<Call>,
    pub(crate) calls: u32,
}

/// What the users were told.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The number of every build that they were told is queued.
    pub(crate) queued: Vec<u64>,
    /// The first final state that was seen of a build.
    pub(crate) verdicts: BTreeMap<u64, Value>,
    /// What followers printed.
    pub(crate) followed: Vec<(String, Ran)>,
}

impl Load {
    /// Works until it is told to stop.
    pub(crate) fn work(mut self, stop: &Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            let builds = self.look();
            if let Some(builds) = builds {
                self.act(&builds);
            }
            self.gather();
            let pause = self.dice.millis(100..=800);
            std::thread::sleep(pause);
        }
        self
    }

    /// Takes what followers have left.
    pub(crate) fn gather(&mut self) {
        let mut still = Vec::new();
        for mut call in std::mem::take(&mut self.following) {
            match call.ended() {
                Some(ran) => self.seen.followed.push((call.words.clone(), ran)),
                None => still.push(call),
            }
        }
        self.following = still;
    }

    /// All builds, if the coordinator answers; what is final must stay what it is.
    pub(crate) fn look(&mut self) -> Option<Vec<Value>> {
        let ran = self.call("builds list -n 100000 --json")?;
        if ran.code != 0 {
            return None;
        }
        let builds: Vec<Value> = serde_json::from_str(&ran.out).expect("the CLI writes JSON");
        for build in &builds {
            let (id, state) = (number(build), &build["state"]);
            if !is_final(build) {
                if let Some(verdict) = self.seen.verdicts.get(&id) {
                    self.story.wrong(format!("build {id} was {verdict} and is {state}"));
                }
                continue;
            }
            let first = self.seen.verdicts.entry(id).or_insert_with(|| {
                let cause = state["failure"]["cause"].as_str().unwrap_or_default();
                self.story.tell(format!("build {id} {} {cause}", word(build)));
                state.clone()
            });
            if first != state {
                self.story.wrong(format!("build {id} was {first} and is {state}"));
            }
        }
        Some(builds)
    }

    fn act(&mut self, builds: &[Value]) {
        let active: Vec<u64> = builds.iter().filter(|build| !is_final(build)).map(number).collect();
        if !active.is_empty() && self.dice.once_in(150) {
            let id = active[self.dice.index(active.len())];
            self.story.tell(format!("build {id} is to be cancelled"));
            self.call(&format!("builds cancel {id}"));
        } else if active.len() < ACTIVE && self.dice.once_in(2) {
            let image = self.images[self.dice.index(self.images.len())].clone();
            let verb = ["build", "build", "build", "genimage", "packimage"][self.dice.index(5)];
            if self.following.len() < FOLLOWERS && self.dice.once_in(3) {
                self.follow(format!("build {image}"));
            } else {
                self.submit(&format!("{verb} {image}"));
            }
        } else if self.following.len() < FOLLOWERS && !active.is_empty() {
            let id = active[self.dice.index(active.len())];
            self.follow(format!("builds logs -f {id}"));
        }
    }

    fn submit(&mut self, what: &str) {
        let Some(ran) = self.call(&format!("{what} --detach --json")) else { return };
        match serde_json::from_str::<Vec<Value>>(&ran.out) {
            Ok(builds) => self.seen.queued.extend(builds.iter().map(number)),
            // There may be nothing to pack yet, or no coordinator, or no room on its disk.
            Err(_) => self.story.tell(format!("`{what}`: {} {}", ran.code, ran.err.trim())),
        }
    }

    fn follow(&mut self, words: String) {
        self.calls += 1;
        let call = Call::start(&self.cli, &words, &self.folder, &format!("call{}", self.calls));
        self.following.push(call);
    }

    fn call(&mut self, words: &str) -> Option<Ran> {
        self.calls += 1;
        let ran = Call::start(&self.cli, words, &self.folder, &format!("call{}", self.calls)).wait(CALL);
        if ran.is_none() {
            self.story.wrong(format!("`imgctl {words}` has not ended after {CALL:?}"));
        }
        ran
    }
}

/// A build's number.
pub(crate) fn number(build: &Value) -> u64 {
    build["id"].as_u64().unwrap_or_else(|| panic!("no number in {build}"))
}

/// Its state's name.
pub(crate) fn word(build: &Value) -> &str {
    build["state"]["name"].as_str().unwrap_or_else(|| panic!("no state in {build}"))
}

/// Whether it has ended.
pub(crate) fn is_final(build: &Value) -> bool {
    ["succeeded", "failed", "cancelled"].contains(&word(build))
}
