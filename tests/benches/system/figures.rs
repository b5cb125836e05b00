//! How figures are taken: percentiles, and what a process has used.

use std::fs;
use std::time::Duration;

/// Durations in the order of their length.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        Self(samples)
    }

    /// The sample that `share` of all are not above; zero if there is none.
    fn at(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let at = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(at.saturating_sub(1).min(last)).copied().unwrap_or_default()
    }

    /// `p50 1.2 ms, p99 3.4 ms, longest 5.6 ms (200)`.
    pub(crate) fn summary(&self) -> String {
        let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|share| self.at(share).as_secs_f64() * 1000.0);
        format!("p50 {p50:.1} ms, p99 {p99:.1} ms, longest {longest:.1} ms ({} samples)", self.0.len())
    }

    pub(crate) fn median(&self) -> Duration {
        self.at(0.5)
    }
}

/// Processor time that a process has used by now, without its children, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold blanks.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The most memory that a process had at one time, in MB.
pub(crate) fn peak_mb(pid: u32) -> f64 {
    field_mb(pid, "VmHWM:")
}

/// What it has now, in MB.
pub(crate) fn resident_mb(pid: u32) -> f64 {
    field_mb(pid, "VmRSS:")
}

fn field_mb(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kib: f64 = field.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
    kib * 1024.0 / 1e6
}
