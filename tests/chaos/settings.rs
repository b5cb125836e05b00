//! What a run can be told: its seed and its length.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `IMGCTL_CHAOS_SEED`, a number. `make chaos` draws a new one every time unless it is given; `make test` throws the same
/// faults every time, for a change must not be refused for what another seed finds.
const SEED: &str = "IMGCTL_CHAOS_SEED";
const SEED_OF_TESTS: u64 = 11;

/// `IMGCTL_CHAOS_MINUTES`, how long faults are thrown; the start and the examination come on top.
const MINUTES: &str = "IMGCTL_CHAOS_MINUTES";

/// Within the five minutes that a part of `make test` may take.
const USUAL: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Where all chance comes from.
    pub(crate) seed: u64,
    /// How long faults are thrown.
    pub(crate) length: Duration,
    /// Whether somebody watches: `make chaos` sets both, if only to nothing, `make test` neither.
    pub(crate) is_shown: bool,
}

impl Settings {
    /// From the environment.
    pub(crate) fn read() -> Self {
        let given = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let minutes = |text: String| text.parse::<f64>().expect("the length is a number of minutes");
        let is_shown = std::env::var_os(SEED).is_some() || std::env::var_os(MINUTES).is_some();
        let seed = match given(SEED) {
            Some(text) => text.parse().expect("the seed is a number"),
            None if is_shown => by_the_clock(),
            None => SEED_OF_TESTS,
        };
        let length = given(MINUTES).map_or(USUAL, |text| Duration::from_secs_f64(minutes(text) * 60.0));
        Self { seed, length, is_shown }
    }
}

/// Short enough to be typed again.
fn by_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::from(since.subsec_micros()) + since.as_secs() % 1000 * 1_000_000
}
