//! `agents …`: the build nodes, and how one joins.

use std::time::Duration;

use model::agent::{AgentFacts, AgentState, AgentView, AgentWork, Condition, Drained, Effect};
use model::emulation::Emulation;
use model::name::AgentName;
use proto::v1;

use super::Context;
use crate::args::AgentsVerb;
use crate::failure::{Exit, Failure};
use crate::format;
use crate::view::{TokenView, taken, taken_all};

pub(super) async fn execute(verb: AgentsVerb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        AgentsVerb::List => list(context).await,
        AgentsVerb::Show { name } => show(name, context).await,
        AgentsVerb::Drain { names, reason } => drain(names, &reason, context).await,
        AgentsVerb::Undrain { names } => undrain(names, context).await,
        AgentsVerb::Rm { names } => remove(names, context).await,
        AgentsVerb::Token { agent, valid } => token(agent, valid, context).await,
    }
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let answer = context.client.agents().list(v1::ListAgentsRequest {}).await;
    let wire = answer.map_err(|status| context.client.failure(&status))?.into_inner().agents;
    let agents: Vec<AgentView> = taken_all(&context.client, wire)?;
    if context.printer.json() {
        context.printer.out_json(&agents)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = agents.iter().map(row).collect();
    let head = ["agent", "state", "arch", "os", "builds with", "load", "scratch free", "in hand", "doing", "last seen"];
    context.table(&head, &rows, "no agent has joined yet; `imgctl agents token` lets one in")?;
    Ok(Exit::Done)
}

fn row(view: &AgentView) -> Vec<String> {
    let facts = view.record.facts.as_ref();
    let fact = |say: fn(&AgentFacts) -> String| facts.map_or_else(|| format::NOTHING.to_owned(), say);
    let slots = facts.map_or_else(String::new, |facts| format!("/{}", facts.slots));
    vec![
        view.record.name.to_string(),
        state(view),
        fact(arches),
        fact(|facts| facts.os.clone()),
        fact(|facts| facts.package_systems.join(" ")),
        load(view),
        fact(|facts| format::size(facts.scratch_free_bytes)),
        format!("{}{slots}", view.work.len()),
        format::or_nothing(&doing(view)).to_owned(),
        format::ago(view.record.last_seen_ms, format::now_ms()),
    ]
}

/// What a condition keeps the node from, in words.
fn kept_from(effect: Effect) -> &'static str {
    match effect {
        Effect::Note => "",
        Effect::NoPublish => " (archives are uploaded)",
        Effect::NoInstall => " (it doesn't see the install root)",
        Effect::NoBuilds => " (it builds nothing)",
    }
}

/// What it builds for, in a few words: `ppc64le (emulated)`, `x86_64, ppc64le (emulated)`.
fn arches(facts: &AgentFacts) -> String {
    let works = facts.emulations.iter().filter(|one| one.fault.is_none() && one.arch != facts.arch);
    let own = match facts.emulated_on {
        Some(_) => format!("{} (emulated)", facts.arch),
        None => facts.arch.to_string(),
    };
    std::iter::once(own).chain(works.map(|one| format!("{} (emulated)", one.arch))).collect::<Vec<_>>().join(", ")
}

fn arch(facts: &AgentFacts) -> String {
    match &facts.emulated_on {
        Some(on) => format!("{}, under emulation on {on}", facts.arch),
        None => facts.arch.to_string(),
    }
}

/// One that it may emulate, and whether it can.
fn emulation(one: &Emulation) -> String {
    match &one.fault {
        // In full it stands among the conditions.
        Some(fault) => format!("not {} ({})", one.arch, fault.name),
        None => one.arch.to_string(),
    }
}

/// How it stands; an administrator's word comes first.
fn state(view: &AgentView) -> String {
    let reachable = match view.record.facts.as_ref().and_then(|facts| facts.condition(Effect::NoBuilds)) {
        Some(condition) => format!("{}, builds nothing: {}", view.state.as_str(), condition.name),
        None => view.state.as_str().to_owned(),
    };
    let Some(Drained { by, reason, .. }) = &view.record.drained else { return reachable };
    let word = if view.work.is_empty() { "drained" } else { "draining" };
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("{word} by {by}{reason}, {reachable}")
}

fn load(view: &AgentView) -> String {
    match view.state {
        AgentState::Connected => format!("{:.2}", f64::from(view.load_hundredths) / 100.0),
        AgentState::Silent | AgentState::Offline => format::NOTHING.to_owned(),
    }
}

fn doing(view: &AgentView) -> String {
    let one = |work: &AgentWork| format!("{} {}: {}", work.attempt, work.osimage, work.doing);
    view.work.iter().map(one).collect::<Vec<_>>().join(", ")
}

async fn show(name: AgentName, context: &Context) -> Result<Exit, Failure> {
    let answer = context.client.agents().get(v1::GetAgentRequest { name: name.into() }).await;
    let wire = answer.map_err(|status| context.client.failure(&status))?.into_inner();
    let view: AgentView = taken(&context.client, wire)?;
    if context.printer.json() {
        context.printer.out_json(&view)?;
        return Ok(Exit::Done);
    }
    let record = &view.record;
    let mut fields = vec![
        ("state", state(&view)),
        ("doing", doing(&view)),
        ("load", load(&view)),
        ("joined", format::moment(record.joined_ms)),
        ("last seen", format::moment(record.last_seen_ms)),
        ("certificate", format!("sha256:{}", record.certificate_sha256)),
        ("expires", format::moment(record.certificate_expires_ms)),
    ];
    if let Some(Drained { by, since_ms, reason }) = &record.drained {
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        fields.push(("drained", format!("by {by} on {}{reason}", format::moment(*since_ms))));
    }
    if let Some(facts) = &record.facts {
        fields.extend(facts_fields(facts));
        let conditions = facts.conditions.iter();
        let said = |Condition { name, effect, detail, remedy }: &Condition| {
            format!("{name}{}: {detail}; {remedy}", kept_from(*effect))
        };
        fields.extend(conditions.map(|condition| ("condition", said(condition))));
    }
    context.fields(&format!("agent {}", record.name), &fields)?;
    Ok(Exit::Done)
}

async fn drain(names: Vec<AgentName>, reason: &str, context: &Context) -> Result<Exit, Failure> {
    let mut views = Vec::new();
    for name in names {
        let request = v1::DrainAgentRequest { name: name.into(), reason: reason.to_owned() };
        let answer = context.client.agents().drain(request).await;
        let view = taken(&context.client, answer.map_err(|status| context.client.failure(&status))?.into_inner())?;
        context.printer.note(&drained_note(&view));
        views.push(view);
    }
    changed(&views, context)
}

async fn undrain(names: Vec<AgentName>, context: &Context) -> Result<Exit, Failure> {
    let mut views: Vec<AgentView> = Vec::new();
    for name in names {
        let answer = context.client.agents().undrain(v1::UndrainAgentRequest { name: name.to_string() }).await;
        views.push(taken(&context.client, answer.map_err(|status| context.client.failure(&status))?.into_inner())?);
        context.printer.note(&format!("agent {name} gets work again"));
    }
    changed(&views, context)
}

async fn remove(names: Vec<AgentName>, context: &Context) -> Result<Exit, Failure> {
    for name in names {
        let answer = context.client.agents().remove(v1::RemoveAgentRequest { name: name.to_string() }).await;
        let work = answer.map_err(|status| context.client.failure(&status))?.into_inner().work;
        let work: Vec<AgentWork> = taken_all(&context.client, work)?;
        let one = |work: &AgentWork| format!("{} {}, {} now", work.attempt, work.osimage, work.doing);
        let had = match work.is_empty() {
            true => "nothing".to_owned(),
            false => work.iter().map(one).collect::<Vec<_>>().join("; "),
        };
        context.printer.note(&format!("agent {name} is cut off; it had in hand: {had}"));
    }
    Ok(Exit::Done)
}

fn drained_note(view: &AgentView) -> String {
    let name = &view.record.name;
    match doing(view) {
        nothing if nothing.is_empty() => format!("agent {name} is drained; it has nothing in hand"),
        doing => format!("agent {name} gets no more work; it ends what it has in hand: {doing}"),
    }
}

/// The notes told people; programs get the agents as they are now.
fn changed(views: &[AgentView], context: &Context) -> Result<Exit, Failure> {
    if context.printer.json() {
        context.printer.out_json(&views)?;
    }
    Ok(Exit::Done)
}

fn facts_fields(facts: &AgentFacts) -> Vec<(&'static str, String)> {
    let scratch =
        format!("{} free of {}", format::size(facts.scratch_free_bytes), format::size(facts.scratch_total_bytes));
    vec![
        ("arch", arch(facts)),
        ("emulates", facts.emulations.iter().map(emulation).collect::<Vec<_>>().join("; ")),
        ("os", facts.os.clone()),
        ("kernel", facts.kernel.clone()),
        ("builds with", facts.package_systems.join(" ")),
        ("tools", facts.tools.join(", ")),
        ("scratch", scratch),
        ("memory", format::size(facts.memory_bytes)),
        ("cpus", facts.cpus.to_string()),
        ("install root", facts.install.as_str().to_owned()),
        ("slots", facts.slots.to_string()),
        ("version", facts.version.clone()),
    ]
}

async fn token(agent: Option<AgentName>, valid: Duration, context: &Context) -> Result<Exit, Failure> {
    let valid_seconds = u32::try_from(valid.as_secs()).ok().filter(|&seconds| seconds > 0);
    let valid_seconds = valid_seconds.ok_or_else(|| Failure::usage("a token is valid for a second at least"))?;
    let request =
        v1::CreateTokenRequest { agent: agent.as_ref().map(ToString::to_string).unwrap_or_default(), valid_seconds };
    let answer = context.client.agents().create_token(request).await;
    let v1::CreateTokenResponse { token, expires_ms, ca_fingerprint } =
        answer.map_err(|status| context.client.failure(&status))?.into_inner();
    let address = reachable(&context.client.endpoint().address, &own_name());
    let command = join_command(&address, &token, &ca_fingerprint, agent.as_ref());
    if context.printer.json() {
        context.printer.out_json(&TokenView { token, expires_ms, ca_fingerprint, command })?;
        return Ok(Exit::Done);
    }
    let whose = agent.map_or_else(|| "one agent".to_owned(), |agent| format!("the agent {agent}"));
    context.printer.out(&format!("token:    {token}\nexpires:  {}\n", format::moment(expires_ms)))?;
    context.printer.out(&format!("it lets {whose} join, once; on the node, as root:\n\n  {command}\n"))?;
    Ok(Exit::Done)
}

/// The coordinator's address as a node needs it: one that means "this machine" is replaced by this machine's name.
fn reachable(address: &str, own_name: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port))
            if !own_name.is_empty() && (host == "localhost" || host.starts_with("127.") || host == "[::1]") =>
        {
            format!("{own_name}:{port}")
        }
        _ => address.to_owned(),
    }
}

/// This machine's name; empty if it has none.
fn own_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

fn join_command(address: &str, token: &str, fingerprint: &str, agent: Option<&AgentName>) -> String {
    let name = agent.map(|agent| format!(" --name {agent}")).unwrap_or_default();
    format!("imgctl-agent join --coordinator {address} --ca-fingerprint {fingerprint} --token {token}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::emulation::EmulationFault;

    #[test]
    fn what_is_emulated_is_seen_at_a_glance_and_what_does_not_work_in_full() {
        let wire = v1::AgentFacts { arch: "x86_64".into(), install: "nfs".into(), ..v1::AgentFacts::default() };
        let mut facts = AgentFacts::try_from(wire).unwrap();
        assert_eq!(arches(&facts), "x86_64");
        let one = |arch: &str| Emulation { arch: arch.parse().unwrap(), fault: None };
        facts.emulations = vec![one("ppc64le"), one("aarch64")];
        facts.emulations[1].fault =
            Some(EmulationFault { name: "emulation-no-f-flag".into(), cause: "c".into(), remedy: "r".into() });
        assert_eq!(arches(&facts), "x86_64, ppc64le (emulated)");
        assert_eq!(emulation(&facts.emulations[1]), "not aarch64 (emulation-no-f-flag)");
        (facts.arch, facts.emulated_on) = ("ppc64le".parse().unwrap(), Some("x86_64".into()));
        assert_eq!(
            (arches(&facts).as_str(), arch(&facts).as_str()),
            ("ppc64le (emulated)", "ppc64le, under emulation on x86_64")
        );
    }

    #[test]
    fn a_node_is_not_told_to_dial_itself() {
        let table = [
            ("localhost:7443", "mn:7443"),
            ("127.0.0.1:1", "mn:1"),
            ("[::1]:7443", "mn:7443"),
            ("10.0.0.1:7443", "10.0.0.1:7443"),
            ("mn2:7443", "mn2:7443"),
        ];
        for (address, expected) in table {
            assert_eq!(reachable(address, "mn"), expected);
        }
        assert_eq!(reachable("localhost:7443", ""), "localhost:7443");
    }
}
