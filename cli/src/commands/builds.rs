//! `builds …`: looking at builds and their logs, ending them, starting them again.

use model::build::BuildState;
use model::id::BuildId;
use model::name::ImageName;
use model::wish::GenimageWish;
use proto::v1;
use tokio::sync::mpsc;

use super::Context;
use super::submit::{Order, submit};
use crate::args::BuildsVerb;
use crate::failure::{Exit, Failure};
use crate::follow::log::{Cursor, Wanted, follow};
use crate::follow::patience::USUAL;
use crate::follow::report::{Detail, report};
use crate::follow::screen::one_line;
use crate::follow::{Link, News, PENDING_NEWS, Reporter};
use crate::format;
use crate::view::{BuildView, taken, taken_all};

pub(super) async fn execute(verb: BuildsVerb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        BuildsVerb::List { active, osimage, limit } => list(active, osimage, limit, context).await,
        BuildsVerb::Show { build } => show(build, context).await,
        BuildsVerb::Logs { build, follow, attempt, from } => {
            if attempt.is_none() {
                tell_of_others(build, context).await?;
            }
            let cursor = Cursor::before(attempt, from);
            logs(Wanted { build, cursor, one_attempt: attempt.is_some(), follow }, context).await
        }
        BuildsVerb::Cancel { builds } => cancel(&builds, context).await,
        BuildsVerb::Retry { build, discard_edits, detach } => {
            submit(Order::Retry(v1::RetryBuildRequest { id: build.get(), discard_edits }), detach, context).await
        }
    }
}

async fn list(active: bool, osimage: Option<ImageName>, limit: u32, context: &Context) -> Result<Exit, Failure> {
    let request = v1::ListBuildsRequest { osimage: osimage.map(String::from).unwrap_or_default(), active, limit };
    let answer = context.client.builds().list(request).await.map_err(|status| context.client.failure(&status))?;
    let views: Vec<BuildView> = taken_all(&context.client, answer.into_inner().builds)?;
    if context.printer.json() {
        let documents: Vec<_> = views.iter().map(BuildView::json).collect::<Result<_, _>>()?;
        context.printer.out_json(&documents)?;
        return Ok(Exit::Done);
    }
    let now = format::now_ms();
    let rows: Vec<_> = views.iter().map(|view| row(view, now)).collect();
    let nothing = if active { "no build is running or waiting" } else { "there are no builds" };
    context.table(&["build", "osimage", "arch", "state", "agent", "submitted", "by", "took", "gen"], &rows, nothing)?;
    Ok(Exit::Done)
}

fn row(view: &BuildView, now_ms: i64) -> Vec<String> {
    let build = &view.build;
    let state = match &build.state {
        BuildState::Running { stage, .. } => format!("running {stage}"),
        BuildState::Failed { failure } => format!("failed in {}", failure.stage),
        state => state.word().to_owned(),
    };
    vec![
        build.id.to_string(),
        build.osimage.to_string(),
        build.arch.to_string(),
        state,
        build.attempts.last().map_or_else(|| format::NOTHING.to_owned(), |attempt| attempt.agent.to_string()),
        format::moment(build.submitted_ms),
        build.submitted_by.to_string(),
        format::span(build.submitted_ms, build.ended_ms, now_ms),
        build.generation.map_or_else(|| format::NOTHING.to_owned(), |number| number.to_string()),
    ]
}

async fn show(build: BuildId, context: &Context) -> Result<Exit, Failure> {
    let answer = context.client.builds().get(v1::GetBuildRequest { id: build.get() }).await;
    let wire = answer.map_err(|status| context.client.failure(&status))?.into_inner();
    let view: BuildView = taken(&context.client, wire)?;
    if context.printer.json() {
        context.printer.out_json(&view.json()?)?;
        return Ok(Exit::Done);
    }
    let build = &view.build;
    context.printer.out_spans(&report(&view, format::now_ms(), Detail { stages: true, failure: true }))?;
    let mut fields = vec![
        ("submitted", format!("{} by {}", format::moment(build.submitted_ms), build.submitted_by)),
        ("ended", format::moment(build.ended_ms)),
        ("definition", format!("{} revision {}", build.osimage, build.revision)),
        ("rootimgdir", build.rootimgdir.display().to_string()),
        ("plan", build.plan.clone().map(|digest| format!("sha256:{digest}")).unwrap_or_default()),
    ];
    if let Some(agent) = &build.needs.agent {
        fields.push(("asked for", agent.to_string()));
    }
    if build.genimage != GenimageWish::default() {
        fields.push(("only here", asked(&build.genimage)));
    }
    context.fields("", &fields)?;
    Ok(Exit::Done)
}

/// What was asked of genimage for this build alone, in one line.
fn asked(wish: &GenimageWish) -> String {
    let GenimageWish { set, root_limit, ignore_kernel_check, only_initrd } = wish;
    let limit = root_limit.iter().map(|limit| format!("-l {limit}"));
    let flags = [(*ignore_kernel_check, "--ignorekernelchk"), (*only_initrd, "--onlyinitrd")];
    let flags = flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.to_owned());
    set.iter().cloned().chain(limit).chain(flags).collect::<Vec<_>>().join(" ")
}

/// Without `--attempt` the newest attempt's log is shown.
async fn tell_of_others(build: BuildId, context: &Context) -> Result<(), Failure> {
    let answer = context.client.builds().get(v1::GetBuildRequest { id: build.get() }).await;
    // What there is no answer to, reading the log tells as well, and a follower comes back.
    let Ok(answer) = answer else { return Ok(()) };
    let view: BuildView = taken(&context.client, answer.into_inner())?;
    let count = view.build.attempts.len();
    if let (2.., Some(first)) = (count, view.build.attempts.first()) {
        let first = first.attempt;
        context.printer.note(&format!("attempt {count} of {count}; `--attempt {first}` shows the first"));
    }
    Ok(())
}

/// Prints a log; a follower that loses its connection says so and comes back.
async fn logs(wanted: Wanted, context: &Context) -> Result<Exit, Failure> {
    let (sender, mut news) = mpsc::channel(PENDING_NEWS);
    let reporter = Reporter { call: 0, news: sender };
    let reading = async {
        // Owned here, so that the end of reading is the end of news.
        let reporter = reporter;
        follow(&context.client, wanted, USUAL, &reporter).await
    };
    let showing = async {
        while let Some(news) = news.recv().await {
            show_news(&news, context)?;
        }
        Ok(())
    };
    tokio::pin!(reading, showing);
    tokio::select! {
        // Showing ends first only when the reader of our output has gone.
        shown = &mut showing => shown.map(|()| Exit::Done),
        read = &mut reading => {
            showing.await?;
            read.map(|()| Exit::Done)
        }
    }
}

fn show_news(news: &News, context: &Context) -> Result<(), Failure> {
    match news {
        News::Lines(batch) => {
            if batch.missed > 0 {
                context.printer.warning(&format!("{} lines are missing here", batch.missed));
            }
            let text: String = batch.lines.iter().map(|line| one_line(&line.text)).collect();
            context.printer.out(&text)
        }
        News::Link(_, Link::Lost { why, wait }) => {
            context.printer.note(&format!("{why}; trying again in {}s", wait.as_secs().max(1)));
            Ok(())
        }
        News::Link(_, Link::Back) => {
            context.printer.note("connected again");
            Ok(())
        }
        News::Failed(failure) | News::LogFailed(failure) => Err(failure.clone()),
        News::Changed(_) => Ok(()),
    }
}

/// All that can be cancelled are, whatever the others answer.
async fn cancel(builds: &[BuildId], context: &Context) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for build in builds {
        match context.client.builds().cancel(v1::CancelBuildRequest { id: build.get() }).await {
            Ok(_) => context.printer.note(&format!("build {build} is cancelled")),
            Err(status) => {
                let failure = context.client.failure(&status);
                exit = exit.max(failure.exit);
                context.printer.failure(&failure);
            }
        }
    }
    Ok(exit)
}
