//! What happened, as it happens: one line each with its time, and the faults kept for the judgement at the end.

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::fault::Cause;

/// Shared by everything that has something to tell.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    start: Instant,
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
    pub(crate) fn begin() -> Self {
        Self { start: Instant::now(), told: Arc::default() }
    }

    /// A line for the reader.
    pub(crate) fn tell(&self, line: impl AsRef<str>) {
        println!("{:7.1}s  {}", self.start.elapsed().as_secs_f64(), line.as_ref());
    }

    /// Something that must not be. The run goes on, to see what else there is, and fails at its end.
    pub(crate) fn wrong(&self, what: impl Into<String>) {
        let what = what.into();
        self.tell(format!("WRONG: {what}"));
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
