//! What happened, as it happens: one line each with its time, and the faults kept for the judgement at the end.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::fault::Cause;

/// Shared by everything that has something to tell.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    start: Instant,
    /// Whether each line is shown at once; otherwise only what went wrong is.
    is_shown: bool,
    file: Arc<File>,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    causes: Vec<Spell>,
    wrongs: Vec<String>,
}

/// A fault and when it was at work, in milliseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Spell {
    pub(crate) cause: Cause,
    pub(crate) from_ms: i64,
    /// Not over yet: the end of time.
    pub(crate) to_ms: i64,
}

impl Story {
    /// The whole of it goes into the run's folder.
    pub(crate) fn begin(folder: &Path, is_shown: bool) -> Self {
        let file = Arc::new(File::create(folder.join("story.log")).expect("the folder is ours"));
        Self { start: Instant::now(), is_shown, file, told: Arc::default() }
    }

    /// A line for the reader.
    pub(crate) fn tell(&self, line: impl AsRef<str>) {
        self.write(line.as_ref(), self.is_shown);
    }

    fn write(&self, line: &str, is_shown: bool) {
        let line = format!("{:7.1}s  {line}", self.start.elapsed().as_secs_f64());
        writeln!(&*self.file, "{line}").expect("the run's folder has room");
        if is_shown {
            println!("{line}");
        }
    }

    /// Something that must not be. The run goes on, to see what else there is, and fails at its end.
    pub(crate) fn wrong(&self, what: impl Into<String>) {
        let what = what.into();
        self.write(&format!("WRONG: {what}"), true);
        self.told().wrongs.push(what);
    }

    /// A fault begins.
    pub(crate) fn begins(&self, cause: Cause) {
        self.told().causes.push(Spell { cause, from_ms: now_ms(), to_ms: i64::MAX });
    }

    /// It is over.
    pub(crate) fn ends(&self, cause: &Cause) {
        let now = now_ms();
        self.told().causes.iter_mut().filter(|spell| spell.cause == *cause && spell.to_ms > now).for_each(|spell| {
            spell.to_ms = now;
        });
    }

    /// Every fault so far.
    pub(crate) fn spells(&self) -> Vec<Spell> {
        self.told().causes.clone()
    }

    /// All that went wrong.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.told().wrongs.clone()
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().expect("nobody panics while telling")
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_millis()).expect("it is not that late")
}

/// Faults go on to have effect for a while: connections are made anew, leases run out.
const AFTERMATH_MS: i64 = 15_000;

impl Spell {
    /// Whether what happened in this time may be its doing.
    pub(crate) fn touches(&self, from_ms: i64, to_ms: i64) -> bool {
        self.from_ms <= to_ms && self.to_ms.saturating_add(AFTERMATH_MS) >= from_ms
    }

    /// Whether what happens now may be its doing.
    pub(crate) fn is_about_now(&self) -> bool {
        self.touches(now_ms(), now_ms())
    }
}
