//! The second of the two clocks: how long a worker may say nothing in a stage, whatever its connection does.
//!
//! A worker that waits for an answer nobody gives, or for a server that is gone, holds its slot for ever. Any report
//! of it is a sign of life; so are bytes that make no line yet (the dots of a progress bar) and bytes of the archive,
//! which it reports as [`crate::worker::report::Report::Progress`]. After half of the stage's budget the log gets a
//! warning; at the end of it the attempt fails. Pure: [`crate::follow`] tells the time and does what follows.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::stage::Stage;
use tokio::time::Instant;

use crate::worker::report::{Blame, Failure, LAST_LINES};

/// A command line is told up to here; those of bootstraps have every package in them.
const TOLD: usize = 200;

/// How long each stage may be silent; a stage that isn't named has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets(BTreeMap<Stage, Duration>);

impl Budgets {
    /// From what the coordinator said: names and seconds. A name that is none of a stage is passed over, and 0 is no
    /// limit.
    pub fn new<'a>(said: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let known = said.into_iter().filter_map(|(stage, seconds)| Some((stage.parse::<Stage>().ok()?, seconds)));
        Self(known.filter(|(_, s)| *s > 0).map(|(stage, s)| (stage, Duration::from_secs(s.into()))).collect())
    }

    /// That of one stage.
    pub fn of(&self, stage: Stage) -> Option<Duration> {
        self.0.get(&stage).copied()
    }
}

/// What the clock has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// A line for the log: half of the budget is gone.
    Warn(String),
    /// All of it is: the attempt fails so.
    End(Failure),
}

/// The clock of one attempt.
#[derive(Debug)]
pub struct Silence {
    budgets: Budgets,
    stage: Stage,
    since: Instant,
    warned: bool,
    command: Option<String>,
    last: VecDeque<String>,
}

impl Silence {
    /// Begins with the first stage.
    pub fn new(budgets: Budgets, now: Instant) -> Self {
        Self { budgets, stage: Stage::Prepare, since: now, warned: false, command: None, last: VecDeque::new() }
    }

    /// The stage that it watches.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// A sign of life.
    pub fn alive(&mut self, now: Instant) {
        (self.since, self.warned) = (now, false);
    }

    /// A stage begins.
    pub fn begins(&mut self, stage: Stage, now: Instant) {
        (self.stage, self.command) = (stage, None);
        self.last.clear();
        self.alive(now);
    }

    /// A line of the log.
    pub fn line(&mut self, text: &str, now: Instant) {
        if let Some(command) = text.strip_prefix("+ ") {
            self.command = Some(clipped(command));
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(text.to_owned());
        self.alive(now);
    }

    /// When there may be something to say, if nothing happens until then.
    pub fn due(&self) -> Option<Instant> {
        let budget = self.budgets.of(self.stage)?;
        Some(self.since + if self.warned { budget } else { budget / 2 })
    }

    /// What there is to say now.
    pub fn look(&mut self, now: Instant) -> Option<Alarm> {
        let budget = self.budgets.of(self.stage)?;
        let silent = now.saturating_duration_since(self.since);
        if silent >= budget {
            return Some(Alarm::End(self.failure(budget)));
        }
        if self.warned || silent < budget / 2 {
            return None;
        }
        self.warned = true;
        let (half, all) = (words(budget / 2), words(budget));
        Some(Alarm::Warn(format!("no output for {half} in {}; the attempt is ended after {all} of it", self.stage)))
    }

    fn failure(&self, budget: Duration) -> Failure {
        let running = self.command.as_ref().map(|command| format!("; the last command was `{command}`"));
        Failure {
            stage: self.stage,
            cause: format!("no output for {} in {}{}", words(budget), self.stage, running.unwrap_or_default()),
            hint:
                "see in the last lines what it waits for (an answer, a server, a lock); if it is only slow, give the \
                   stage more `silence_seconds` in coordinator.toml"
                    .to_owned(),
            blame: Blame::Build,
            last_lines: self.last.iter().cloned().collect(),
        }
    }
}

fn clipped(command: &str) -> String {
    match command.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}…", &command[..end]),
        None => command.to_owned(),
    }
}

/// A length of time as people say it.
pub fn words(time: Duration) -> String {
    match (time.as_secs(), time.subsec_millis()) {
        (0, ms) => format!("{ms} ms"),
        (s, _) if s < 120 => format!("{s} s"),
        (s, _) if s % 60 == 0 => format!("{} min", s / 60),
        (s, _) => format!("{} min {} s", s / 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn clock(begun: Instant) -> Silence {
        let mut clock = Silence::new(Budgets::new([("packages", 600), ("publish", 0), ("packimage", 5)]), begun);
        clock.begins(Stage::Packages, begun);
        clock
    }

    fn ends(alarm: Option<Alarm>) -> bool {
        matches!(alarm, Some(Alarm::End(_)))
    }

    #[test]
    fn half_of_the_budget_warns_once_and_all_of_it_ends_the_attempt() {
        let begun = Instant::now();
        let mut clock = clock(begun);
        clock.line("+ apt-get install nano", begun);
        clock.line("Reading package lists...", begun + seconds(5));
        let said = begun + seconds(5);
        assert_eq!(clock.due(), Some(said + seconds(300)));
        assert_eq!(clock.look(said + seconds(299)), None);
        let warning = "no output for 5 min in packages; the attempt is ended after 10 min of it";
        assert_eq!(clock.look(said + seconds(300)), Some(Alarm::Warn(warning.to_owned())));
        assert_eq!(clock.due(), Some(said + seconds(600)));
        assert_eq!(clock.look(said + seconds(599)), None);
        let Some(Alarm::End(failure)) = clock.look(said + seconds(600)) else { panic!("it goes on") };
        assert_eq!(failure.cause, "no output for 10 min in packages; the last command was `apt-get install nano`");
        assert_eq!((failure.stage, failure.blame), (Stage::Packages, Blame::Build));
        assert_eq!(failure.last_lines, ["+ apt-get install nano", "Reading package lists..."]);
    }

    #[test]
    fn any_sign_of_life_begins_the_time_anew_and_a_new_silence_warns_again() {
        let begun = Instant::now();
        let mut clock = clock(begun);
        for minutes in 1..5 {
            let now = begun + seconds(300 * minutes);
            assert!(matches!(clock.look(now), Some(Alarm::Warn(_))), "{minutes}");
            clock.alive(now);
        }
        let last = begun + seconds(1200);
        assert!(!ends(clock.look(last + seconds(599))));
        assert!(ends(clock.look(last + seconds(600))));
    }

    #[test]
    fn who_looks_late_ends_it_without_a_warning() {
        let begun = Instant::now();
        assert!(ends(clock(begun).look(begun + seconds(5000))));
    }

    #[test]
    fn a_stage_without_budget_may_be_silent_for_ever() {
        let begun = Instant::now();
        let mut clock = clock(begun);
        for stage in [Stage::Publish, Stage::Prepare] {
            clock.begins(stage, begun);
            assert_eq!((clock.due(), clock.look(begun + seconds(1_000_000))), (None, None), "{stage}");
        }
        let mut again = Silence::new(Budgets::new([("prepare", 1)]), begun);
        assert!(ends(again.look(begun + seconds(1))));
    }

    #[test]
    fn the_last_lines_and_the_command_are_those_of_the_stage() {
        let begun = Instant::now();
        let mut clock = clock(begun);
        clock.line(&format!("+ mmdebstrap {}", "ä".repeat(300)), begun);
        clock.begins(Stage::Packages, begun);
        (1..=30).for_each(|number| clock.line(&format!("line {number}"), begun));
        let Some(Alarm::End(failure)) = clock.look(begun + seconds(600)) else { panic!("it goes on") };
        assert_eq!(failure.cause, "no output for 10 min in packages");
        assert_eq!((failure.last_lines.len(), failure.last_lines[0].as_str()), (LAST_LINES, "line 11"));
        clock.line(&format!("+ x {}", "ä".repeat(300)), begun);
        let Some(Alarm::End(failure)) = clock.look(begun + seconds(600)) else { panic!("it goes on") };
        assert!(failure.cause.ends_with(&format!("`x {}…`", "ä".repeat(198))), "{}", failure.cause);
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        for (time, said) in
            [(500, "500 ms"), (1000, "1 s"), (90_000, "90 s"), (600_000, "10 min"), (150_000, "2 min 30 s")]
        {
            assert_eq!(words(Duration::from_millis(time)), said);
        }
    }
}
