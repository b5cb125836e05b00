//! How moments, durations and sizes are written for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What stands where there is nothing to say.
pub const NOTHING: &str = "-";

/// A size in decimal units: `135.6 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be written as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration in its two largest units: `1m 12s`.
pub fn duration(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, _, _) => format!("{d}d {h}h"),
    }
}

/// From one moment to another, or to `now` while it has not ended; nothing before it began.
pub fn span(started_ms: i64, ended_ms: i64, now_ms: i64) -> String {
    match (started_ms, ended_ms) {
        (0, _) => NOTHING.to_owned(),
        (start, 0) => duration(now_ms - start),
        (start, end) => duration(end - start),
    }
}

/// A moment in local time: `2026-11-21 21:13:05`.
pub fn moment(ms: i64) -> String {
    moment_in(ms, &TimeZone::system())
}

fn moment_in(ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(timestamp) if ms != 0 => timestamp.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => NOTHING.to_owned(),
    }
}

/// How long ago a moment was: `3s ago`; nothing for none.
pub fn ago(ms: i64, now_ms: i64) -> String {
    if ms == 0 { NOTHING.to_owned() } else { format!("{} ago", duration(now_ms - ms)) }
}

/// The present, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// The text, or a dash for none.
pub fn or_nothing(text: &str) -> &str {
    if text.is_empty() { NOTHING } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_with_one_digit() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (135_640_000, "135.6 MB"),
            (999_960, "1.0 MB"),
            (2_500_000_000, "2.5 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let table =
            [(-5, "0s"), (0, "0s"), (59_999, "59s"), (72_000, "1m 12s"), (7_380_000, "2h 3m"), (100_800_000, "1d 4h")];
        for (ms, text) in table {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(span(0, 0, 9), "-");
        assert_eq!(span(1000, 0, 4000), "3s");
        assert_eq!(span(1000, 3000, 9000), "2s");
        assert_eq!((ago(0, 9).as_str(), ago(1000, 4000).as_str()), ("-", "3s ago"));
    }

    #[test]
    fn moments_are_local_and_none_is_a_dash() {
        assert_eq!(moment_in(1_700_000_000_000, &TimeZone::UTC), "2023-11-14 22:13:20");
        assert_eq!(moment_in(0, &TimeZone::UTC), "-");
    }
}
