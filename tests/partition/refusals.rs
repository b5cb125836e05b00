//! An agent that will not let go: it comes back after its lease, under its own certificate, and goes on with an attempt that
//! is another agent's by now. Real agents drop such an attempt themselves; the coordinator must not rely on it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use proto::tls::{Identity, connect_over};
use proto::v1;
use proto::v1::agent_message::Message as Said;
use proto::v1::coordinator_message::Message as Heard;
use proto::v1::event::Event as What;
use proto::v1::sessions_client::SessionsClient;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

use crate::cut::Cut;
use crate::moment::MOMENTS;
use crate::net::Net;
use crate::prepare;
use crate::site::{Plan, Site};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn an_agent_that_goes_on_with_a_lost_attempt_is_refused_in_everything() {
    let mut site = Site::start(Plan::default());
    site.until("work", LIMIT, MOMENTS[2].is_now);
    let old = site.agent_of(1);
    site.cut(&old, Cut::Lost);
    site.until("the next attempt", LIMIT, |site| site.build(1).attempts.len() == 2);
    site.sim().crash(old.as_str());
    let (answers, identity) = (Rc::<RefCell<Vec<String>>>::default(), prepare::agent(site.folder(), &old).identity());
    let heard = answers.clone();
    site.sim().client("stubborn", async move { insist(&identity, &heard).await });
    site.until("every answer", LIMIT, |_| answers.borrow().len() == 5);
    assert_eq!(*answers.borrow(), ["drop", "drop", "refused", "PermissionDenied", "PermissionDenied"]);
    assert!(site.build(1).attempts[0].published.is_none(), "a lost attempt has published");
    site.mend(&old, Cut::Lost);
    site.sim().bounce(old.as_str());
    site.succeeds(1, 2, LIMIT);
}

/// Tries everything that an attempt's agent may do with attempt 1 of build 1, and notes the answers.
async fn insist(identity: &Path, answers: &RefCell<Vec<String>>) -> Result<(), Box<dyn std::error::Error>> {
    let channel = connect_over(Net, "mn:7443", &Identity::load(identity)?).await?;
    let note = |answer: String| answers.borrow_mut().push(answer);
    events(channel.clone(), note).await?;
    let mut client = SessionsClient::new(channel);
    let line = v1::LogLine { time_ms: 1, stage: "packages".to_owned(), text: "still here".to_owned() };
    let push = v1::LogPush { attempt: old(), first_line: 1, lines: vec![line] };
    let mut acks = client.push_log(tokio_stream::iter([push])).await?.into_inner();
    note(if acks.message().await?.is_some_and(|ack| ack.refused) { "refused" } else { "taken" }.to_owned());
    let header = v1::upload_message::Message::Header(v1::UploadHeader { attempt: old() });
    let upload = client.upload(tokio_stream::iter([v1::UploadMessage { message: Some(header) }])).await;
    note(code(upload.err().map(|status| status.code())));
    let plan = client.fetch_plan(old().unwrap_or_default()).await;
    note(code(plan.err().map(|status| status.code())));
    Ok(())
}

/// Says that the attempt goes on and has published, whatever the welcome says.
async fn events(channel: Channel, note: impl Fn(String)) -> Result<(), Box<dyn std::error::Error>> {
    let (out, outgoing) = tokio::sync::mpsc::channel(8);
    let say = async |said| out.send(v1::AgentMessage { message: Some(said) }).await;
    let facts = prepare::facts().to_wire(&agent::config::Config::new("mn:7443", "/"));
    let running = old().into_iter().collect();
    let protocol = proto::SESSION_PROTOCOL;
    say(Said::Hello(v1::Hello { protocol, facts: Some(facts), running, ..v1::Hello::default() })).await?;
    let mut incoming = SessionsClient::new(channel).open(ReceiverStream::new(outgoing)).await?.into_inner();
    incoming.message().await?;
    let stage = What::StageStarted(v1::StageStarted { stage: "initrd".to_owned() });
    let published = What::Published(v1::Published { digest: "sha256:0".to_owned(), ..v1::Published::default() });
    for (number, what) in [(1, stage), (2, published)] {
        say(Said::Event(v1::Event { attempt: old(), number, time_ms: 1, event: Some(what) })).await?;
        let answer = incoming.message().await?.and_then(|answer| answer.message);
        note(if matches!(answer, Some(Heard::Drop(_))) { "drop".to_owned() } else { format!("{answer:?}") });
    }
    Ok(())
}

fn old() -> Option<v1::AttemptRef> {
    Some(v1::AttemptRef { build: 1, attempt: 1 })
}

fn code(refused: Option<Code>) -> String {
    refused.map_or("taken".to_owned(), |code| format!("{code:?}"))
}
