//! What is seen of running builds: the log of one, or one line each of several; bars on a terminal, plain lines
//! elsewhere.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use model::build::BuildState;
use model::stage::Stage;

use super::changes::{Topic, changes};
use super::log::Batch;
use super::{Link, News};
use crate::failure::{Exit, Failure};
use crate::format;
use crate::output::{Printer, Style, printable};
use crate::view::BuildView;

/// The builds that are followed, as seen last.
#[derive(Debug)]
pub struct Screen {
    printer: Printer,
    rows: Vec<Row>,
    /// The attempt and stage that the log stands in.
    section: (u32, String),
    /// The calls whose connection is gone, and the one that speaks for all of them.
    lost: BTreeSet<u64>,
    speaker: Option<u64>,
}

#[derive(Debug)]
struct Row {
    seen: Option<BuildView>,
    build: BuildView,
    bar: ProgressBar,
    phase: String,
    phase_since: Instant,
}

impl Screen {
    /// For builds that were just queued.
    pub fn new(printer: Printer, builds: Vec<BuildView>) -> Self {
        let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let row = |build| Row {
            seen: None,
            build,
            bar: printer.bars().add(ProgressBar::no_length().with_style(style.clone())),
            phase: String::new(),
            phase_since: Instant::now(),
        };
        let rows = builds.into_iter().map(row).collect();
        Self { printer, rows, section: (0, String::new()), lost: BTreeSet::new(), speaker: None }
    }

    /// The builds as seen last.
    pub fn builds(&self) -> impl Iterator<Item = &BuildView> {
        self.rows.iter().map(|row| &row.build)
    }

    /// Whether all have ended.
    pub fn all_ended(&self) -> bool {
        self.builds().all(|view| view.build.state.is_final())
    }

    /// Shows news.
    pub fn show(&mut self, news: News) -> Result<(), Failure> {
        match news {
            News::Changed(view) => self.changed(*view),
            News::Lines(batch) => self.lines(&batch),
            News::Link(call, link) => {
                self.link(call, link);
                Ok(())
            }
            News::Failed(failure) => Err(failure),
            News::LogFailed(failure) => {
                let why = failure.sentence.unwrap_or_default();
                let id = self.builds().next().map_or(0, |view| view.id().get());
                self.printer
                    .warning(&format!("cannot show the rest of the log: {why}; `imgctl builds logs {id}` tries again"));
                Ok(())
            }
        }
    }

    /// Draws the bars anew, for the time that has passed.
    pub fn tick(&self) {
        let alone = self.rows.len() == 1;
        let widest = self.builds().map(|view| view.build.osimage.as_str().len()).max().unwrap_or(0);
        for row in &self.rows {
            let line = row.line();
            let name = &row.build.build.osimage;
            let text =
                if alone { format!("build {}: {line}", row.build.id()) } else { format!("{name:<widest$}  {line}") };
            row.bar.set_message(printable(&text).replace('\n', " "));
        }
    }

    /// Takes the bars away.
    pub fn clear(&self) {
        for row in &self.rows {
            row.bar.finish_and_clear();
        }
    }

    fn changed(&mut self, view: BuildView) -> Result<(), Failure> {
        let alone = self.rows.len() == 1;
        let Some(row) = self.rows.iter_mut().find(|row| row.build.id() == view.id()) else { return Ok(()) };
        let lines = changes(row.seen.as_ref(), &view);
        row.see(view);
        let name = row.build.build.osimage.clone();
        self.tick();
        for change in lines {
            // Several bars tell it themselves; one log has its own heads for stages, and the report its end.
            match (alone, self.printer.draws()) {
                (true, _) if change.topic != Topic::Course => {}
                (true, _) => self.printer.commentary(&[(Style::Bold, format!("--- {} ---", change.text))])?,
                (false, true) => {}
                (false, false) => self.printer.commentary(&[(Style::Plain, format!("[{name}] {}", change.text))])?,
            }
        }
        Ok(())
    }

    fn lines(&mut self, batch: &Batch) -> Result<(), Failure> {
        let mut text = Vec::with_capacity(batch.lines.len());
        if batch.missed > 0 {
            text.push((Style::Warn, format!("--- {} lines are missing here ---\n", batch.missed)));
        }
        for line in &batch.lines {
            if (self.section.0, self.section.1.as_str()) != (batch.attempt, line.stage.as_str()) {
                self.section = (batch.attempt, line.stage.clone());
                text.push((Style::Bold, format!("--- {} ---", line.stage)));
                text.push((Style::Plain, "\n".to_owned()));
            }
            text.push((Style::Plain, one_line(&line.text)));
        }
        self.printer.commentary(&text)
    }

    /// Several calls share one connection and lose it together; one of them speaks.
    fn link(&mut self, call: u64, link: Link) {
        match link {
            Link::Lost { why, wait } => {
                self.lost.insert(call);
                if *self.speaker.get_or_insert(call) == call {
                    let wait = wait.max(Duration::from_secs(1)).as_secs();
                    let goes_on = if self.rows.len() == 1 { "the build goes on" } else { "the builds go on" };
                    self.printer.note(&format!("{why}; {goes_on}, trying again in {wait}s"));
                }
            }
            Link::Back => {
                self.lost.remove(&call);
                if self.lost.is_empty() && self.speaker.take().is_some() {
                    self.printer.note("connected again");
                }
            }
        }
    }
}

/// A log line with its end; line ends inside would forge further lines.
pub fn one_line(text: &str) -> String {
    text.replace('\n', "\\n") + "\n"
}

impl Row {
    fn see(&mut self, view: BuildView) {
        let phase = phase(&view.build.state);
        if phase != self.phase {
            (self.phase, self.phase_since) = (phase, Instant::now());
        }
        self.seen = Some(view.clone());
        self.build = view;
    }

    /// By our own clock, since the coordinator's may differ.
    fn line(&self) -> String {
        let view = &self.build;
        if view.build.state.is_final() {
            let took = format::duration(view.build.ended_ms - view.build.submitted_ms);
            let mark = if view.exit() == Exit::Done { "✓" } else { "✗" };
            return format!("{mark} {} in {took}", view.build.state.word());
        }
        let for_ms = i64::try_from(self.phase_since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let doing = view.waiting_for.as_deref().or(view.activity.as_deref()).unwrap_or_default();
        format!("{:<17} {:>7}  {doing}", self.phase, format::duration(for_ms))
    }
}

fn phase(state: &BuildState) -> String {
    match state {
        BuildState::Running { stage, .. } => {
            let number = Stage::ALL.iter().position(|known| known == stage).map_or(0, |at| at + 1);
            format!("{stage} {number}/{}", Stage::ALL.len())
        }
        BuildState::Packing { .. } => "packimage".to_owned(),
        state => state.word().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::samples::{attempt, build, queued, with_stage};
    use crate::output::Wishes;
    use crate::testing::Captured;
    use proto::v1::LogLine;

    fn screen(builds: Vec<BuildView>) -> (Captured, Screen) {
        let captured = Captured::default();
        let printer = Printer::new(captured.streams(""), Wishes::default());
        (captured, Screen::new(printer, builds))
    }

    fn line(stage: &str, text: &str) -> LogLine {
        LogLine { time_ms: 1, stage: stage.into(), text: text.into() }
    }

    #[test]
    fn one_build_shows_its_log_under_heads_of_stages() {
        let (captured, mut screen) = screen(vec![queued()]);
        screen.show(News::Changed(Box::new(queued()))).unwrap();
        let running = build(BuildState::Queued, vec![with_stage(attempt(), Stage::Packages)]);
        screen.show(News::Changed(Box::new(running))).unwrap();
        let lines =
            vec![line("packages", "Get:1 \x1b[1mbase"), line("packages", "two\nlines"), line("initrd", "dracut")];
        screen.show(News::Lines(Batch { attempt: 1, missed: 2, lines })).unwrap();
        let expected = "--- queued ---\n--- attempt 1 on n1 ---\n--- 2 lines are missing here ---\n\
            --- packages ---\nGet:1 \\x1b[1mbase\ntwo\\nlines\n--- initrd ---\ndracut\n";
        assert_eq!(captured.out(), expected);
    }

    #[test]
    fn several_builds_show_one_line_for_each_stage_change() {
        let mut other = queued();
        other.build.id = other.build.id.next();
        other.build.osimage = "login".parse().unwrap();
        let (captured, mut screen) = screen(vec![queued(), other]);
        let running = build(BuildState::Queued, vec![with_stage(attempt(), Stage::Packages)]);
        screen.show(News::Changed(Box::new(queued()))).unwrap();
        screen.show(News::Changed(Box::new(running))).unwrap();
        let expected = "[compute] queued\n[compute] attempt 1 on n1\n[compute] stage prepare: done (1s)\n\
            [compute] stage packages: running\n";
        assert_eq!(captured.out(), expected);
    }

    #[test]
    fn a_lost_connection_is_told_once_for_all_calls() {
        let (captured, mut screen) = screen(vec![queued()]);
        let lost = || Link::Lost { why: "the connection broke".into(), wait: Duration::from_secs(2) };
        for (call, link) in [(1, lost()), (2, lost()), (2, Link::Back), (1, lost()), (1, Link::Back)] {
            screen.show(News::Link(call, link)).unwrap();
        }
        let told = "the connection broke; the build goes on, trying again in 2s\n";
        assert_eq!(captured.err(), format!("{told}{told}connected again\n"));
    }
}
