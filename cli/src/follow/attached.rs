//! The loop around builds that are followed: news are shown until all have ended, Ctrl-C asks whether to cancel or
//! to leave.

use std::time::Duration;

use model::build::{BuildState, Failure as BuildFailure, Part};
use proto::v1;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use super::log::{Cursor, Wanted};
use super::patience::USUAL;
use super::report::{Detail, Text, last_lines, report};
use super::screen::Screen;
use super::{News, PENDING_NEWS, Reporter, log, watch};
use crate::client::Client;
use crate::diff::DiffView;
use crate::failure::{Exit, Failure};
use crate::format;
use crate::output::{Printer, Style};
use crate::view::BuildView;

/// How often the time on the screen moves.
const TICK: Duration = Duration::from_millis(250);
/// How long the end of the log may take after the end of the build before we stop waiting for it.
const LOG_GRACE: Duration = Duration::from_secs(5);

/// Follows builds to their end and reports them.
pub async fn attach(client: &Client, printer: &Printer, builds: Vec<BuildView>) -> Result<Exit, Failure> {
    let interrupts = signal(SignalKind::interrupt()).map_err(|error| Failure::usage(error.to_string()))?;
    let (sender, news) = mpsc::channel(PENDING_NEWS);
    let calls = start_calls(client, &builds, sender);
    let screen = Screen::new(printer.clone(), builds);
    let mut attached = Attached { client, printer, screen, news, interrupts, _calls: calls };
    match attached.run().await {
        Ok(Some(exit)) => Ok(exit),
        Ok(None) => attached.finish().await,
        Err(failure) => Err(attached.left_behind(failure)),
    }
}

/// One call watches each build; the log is read when there is only one. They end by themselves and with the set.
fn start_calls(client: &Client, builds: &[BuildView], news: mpsc::Sender<News>) -> JoinSet<()> {
    let mut calls = JoinSet::new();
    for view in builds {
        let (client, build) = (client.clone(), view.id());
        let reporter = Reporter { call: build.get(), news: news.clone() };
        calls.spawn(async move {
            if let Err(failure) = watch::watch(&client, build, USUAL, &reporter).await {
                reporter.send(News::Failed(failure)).await;
            }
        });
    }
    if let [view] = builds {
        let wanted = Wanted { build: view.id(), cursor: Cursor::before(None, 1), one_attempt: false, follow: true };
        let client = client.clone();
        // Builds are numbered from 1, so that 0 is free for the log.
        let reporter = Reporter { call: 0, news };
        calls.spawn(async move {
            if let Err(failure) = log::follow(&client, wanted, USUAL, &reporter).await {
                reporter.send(News::LogFailed(failure)).await;
            }
        });
    }
    calls
}

struct Attached<'a> {
    client: &'a Client,
    printer: &'a Printer,
    screen: Screen,
    news: mpsc::Receiver<News>,
    interrupts: Signal,
    _calls: JoinSet<()>,
}

impl Attached<'_> {
    /// Runs until all has been shown, or until the user leaves.
    async fn run(&mut self) -> Result<Option<Exit>, Failure> {
        let mut tick = interval(TICK);
        let mut deadline: Option<Instant> = None;
        loop {
            if deadline.is_none() && self.screen.all_ended() {
                deadline = Some(Instant::now() + LOG_GRACE);
            }
            let until = deadline.unwrap_or_else(|| Instant::now() + TICK);
            tokio::select! {
                news = self.news.recv() => match news {
                    Some(news) => self.screen.show(news)?,
                    None => return Ok(None),
                },
                () = sleep_until(until), if deadline.is_some() => {
                    self.printer.note("the end of the log has not arrived yet; `imgctl builds logs` has it");
                    return Ok(None);
                }
                _ = tick.tick() => self.screen.tick(),
                _ = self.interrupts.recv() => {
                    if let Some(exit) = self.interrupted().await? {
                        return Ok(Some(exit));
                    }
                }
            }
        }
    }

    /// Ctrl-C: the way to leave, or none to go on.
    async fn interrupted(&mut self) -> Result<Option<Exit>, Failure> {
        let answer = match self.printer.can_ask() {
            false => None,
            true => {
                let what = if self.ids().len() == 1 { "build" } else { "builds" };
                let question = format!("\ncancel the {what} [c], detach and let it go on [d], or stay [s]?");
                tokio::select! {
                    answer = self.printer.ask(&question) => answer,
                    _ = self.interrupts.recv() => None,
                }
            }
        };
        match answer.as_deref() {
            Some("c" | "cancel") => self.cancel().await.map(|()| None),
            Some("s" | "stay") => Ok(None),
            _ => {
                self.screen.clear();
                self.printer.note(&format!("detached; {}", self.goes_on()));
                Ok(Some(Exit::Detached))
            }
        }
    }

    /// Ends what has not ended; the builds' end then comes as news.
    async fn cancel(&self) -> Result<(), Failure> {
        for view in self.screen.builds().filter(|view| !view.build.state.is_final()) {
            let request = v1::CancelBuildRequest { id: view.id().get() };
            match self.client.builds().cancel(request).await {
                Ok(_) => self.printer.note(&format!("cancelling build {}", view.id())),
                // It ended while the question was open.
                Err(status) if status.code() == tonic::Code::FailedPrecondition => {}
                Err(status) => return Err(self.client.failure(&status)),
            }
        }
        Ok(())
    }

    /// All have ended: the result.
    async fn finish(&self) -> Result<Exit, Failure> {
        self.screen.clear();
        let views: Vec<&BuildView> = self.screen.builds().collect();
        if self.printer.json() {
            let documents: Vec<_> = views.iter().map(|view| view.json()).collect::<Result<_, _>>()?;
            self.printer.out_json(&documents)?;
        } else {
            let detail = Detail { stages: views.len() == 1, failure: false };
            for view in &views {
                self.printer.commentary(&[(Style::Plain, "\n")])?;
                self.printer.out_spans(&report(view, format::now_ms(), detail))?;
                self.printer.out_spans(&self.changes(view).await)?;
            }
        }
        for (view, failure) in views.iter().filter_map(|view| view.failure().map(|failure| (view, failure))) {
            self.tell(view, failure, views.len() == 1)?;
        }
        Ok(views.iter().map(|view| view.exit()).max().unwrap_or(Exit::Done))
    }

    /// The packages that a new tree has, lacks or has otherwise than the generation before; nothing if there is none.
    async fn changes(&self, view: &BuildView) -> Text {
        let build = &view.build;
        let (BuildState::Succeeded, Some(to)) = (&build.state, build.generation) else { return Text::new() };
        if build.part == Part::Packimage {
            return Text::new();
        }
        let osimage = build.osimage.to_string();
        let request = v1::DiffGenerationsRequest { osimage: osimage.clone(), from: 0, to: to.get(), max_files: 0 };
        match self.client.generations().diff(request).await {
            Ok(answer) => DiffView::from(answer.into_inner()).packages_summary(&osimage),
            // The first one, or one beside what xCAT left. The build went well whatever this says.
            Err(_) => Text::new(),
        }
    }

    /// Why a build failed. The last lines of a log that just went by are not repeated.
    fn tell(&self, view: &BuildView, failure: &BuildFailure, log_was_shown: bool) -> Result<(), Failure> {
        let BuildFailure { stage, cause, hint, last_lines: lines } = failure;
        if !log_was_shown && !self.printer.json() {
            self.printer.out_spans(&last_lines(lines))?;
        }
        let sentence = format!("build {} of {} failed in {stage}: {cause}", view.id(), view.build.osimage);
        self.printer.failure(&Failure { exit: Exit::BuildFailed, sentence: Some(sentence), hint: hint.clone() });
        Ok(())
    }

    /// We can't go on, the builds can.
    fn left_behind(&self, failure: Failure) -> Failure {
        self.screen.clear();
        match failure.sentence {
            Some(_) => failure.hint(self.goes_on()),
            None => failure,
        }
    }

    fn goes_on(&self) -> String {
        goes_on(&self.ids())
    }

    fn ids(&self) -> Vec<u64> {
        let running = self.screen.builds().filter(|view| !view.build.state.is_final());
        running.map(|view| view.id().get()).collect()
    }
}

/// That builds go on, and how to see more of them.
pub fn goes_on(ids: &[u64]) -> String {
    match ids {
        [id] => format!("build {id} goes on: `imgctl builds logs -f {id}` follows it"),
        _ => "the builds go on: `imgctl builds list --active` shows them".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::samples::{attempt, build, failure, queued, with_stage};
    use crate::follow::scripted::{Answer, Script, queue};
    use crate::output::Wishes;
    use crate::testing::Captured;
    use model::stage::Stage;

    fn log(attempt: u32, first_line: u64, text: &str) -> Answer<v1::LogLines> {
        let line = v1::LogLine { time_ms: 1, stage: "packages".into(), text: text.into() };
        Answer::Item(v1::LogLines { attempt, first_line, lines: vec![line] })
    }

    fn failed() -> v1::Build {
        let mut view = build(BuildState::Failed { failure: failure() }, vec![with_stage(attempt(), Stage::Packages)]);
        view.build.ended_ms = 4000;
        view.build.into()
    }

    async fn attached(wishes: Wishes) -> (Exit, String, String) {
        let script = Script {
            logs: queue([vec![log(1, 1, "one"), log(1, 2, "two")], vec![]]),
            watches: queue([vec![Answer::Item(queued().build.into()), Answer::Item(failed())]]),
            builds: queue([failed()]),
            ..Script::default()
        };
        let (client, server) = script.play().await;
        let captured = Captured::default();
        let printer = Printer::new(captured.streams(""), wishes);
        let exit = attach(&client, &printer, vec![queued()]).await.unwrap();
        server.abort();
        (exit, captured.out(), captured.err())
    }

    #[tokio::test]
    async fn a_build_that_fails_shows_its_log_its_stages_and_why() {
        let (exit, out, err) = attached(Wishes::default()).await;
        assert_eq!(exit, Exit::BuildFailed);
        for part in
            ["--- packages ---\none\ntwo\n", "✗ failed after 3s", "✓ done     prepare", "imgctl builds retry 12"]
        {
            assert!(out.contains(part), "{part} in {out}");
        }
        assert_eq!(err, "error: build 12 of compute failed in packages: no package `x`\nhint: it stands at /a:3\n");
    }

    #[tokio::test]
    async fn json_is_one_document_and_the_log_goes_beside_it() {
        let (_, out, err) = attached(Wishes { json: true, ..Wishes::default() }).await;
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&document[0]["state"]["name"], &document[0]["id"]), (&"failed".into(), &12.into()));
        assert!(document[0]["attempts"][0].get("staging").is_none());
        assert!(err.contains("one\ntwo\n"), "{err}");
    }
}
