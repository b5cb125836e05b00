//! What `--json` prints beside the nouns of `model`, and what the commands show: the noun with what the
//! coordinator adds to it for display. Field names are a promise to scripts.

use std::path::PathBuf;

use model::build::{Artefact, Build, BuildState};
use model::id::{BuildId, Generation};
use proto::v1;
use proto::violation::FieldViolation;
use serde::Serialize;
use serde_json::Value;

use crate::client::Client;
use crate::failure::{Exit, Failure};

/// A build as shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildView {
    /// What is recorded.
    #[serde(flatten)]
    pub build: Build,
    /// Why it waits, while it does.
    pub waiting_for: Option<String>,
    /// What it is doing now.
    pub activity: Option<String>,
}

impl TryFrom<v1::Build> for BuildView {
    type Error = FieldViolation;

    fn try_from(mut wire: v1::Build) -> Result<Self, FieldViolation> {
        let activity = some_text(std::mem::take(&mut wire.activity));
        let waiting_for = match wire.state.as_ref().and_then(|state| state.state.as_ref()) {
            Some(v1::build_state::State::Queued(queued)) => some_text(queued.waiting_for.clone()),
            _ => None,
        };
        Ok(Self { build: wire.try_into()?, waiting_for, activity })
    }
}

impl BuildView {
    /// Its number.
    pub fn id(&self) -> BuildId {
        self.build.id
    }

    /// How it failed, if it did.
    pub fn failure(&self) -> Option<&model::build::Failure> {
        match &self.build.state {
            BuildState::Failed { failure } => Some(failure),
            _ => None,
        }
    }

    /// What its end means for the exit code.
    pub fn exit(&self) -> Exit {
        match self.build.state {
            BuildState::Failed { .. } | BuildState::Cancelled { .. } => Exit::BuildFailed,
            _ => Exit::Done,
        }
    }

    /// For `--json`: without the staging folder of attempts, which the coordinator keeps to itself.
    pub fn json(&self) -> Result<Value, Failure> {
        let mut value = serde_json::to_value(self).map_err(|error| Failure::usage(error.to_string()))?;
        for attempt in value["attempts"].as_array_mut().into_iter().flatten() {
            if let Some(fields) = attempt.as_object_mut() {
                fields.remove("staging");
            }
        }
        Ok(value)
    }
}

/// A generation as shown; unlike a recorded one it can be generation 0, which xCAT left and no build made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GenerationView {
    /// Its number in the rootimgdir.
    pub number: u32,
    /// Whose definition it was made from.
    pub osimage: String,
    /// The build that made it.
    pub build: Option<BuildId>,
    /// The rootimgdir.
    pub rootimgdir: PathBuf,
    /// Its folder.
    pub path: PathBuf,
    /// `built` or `packed`.
    pub state: String,
    /// Whether nodes boot it.
    pub live: bool,
    /// The generation whose tree it shares.
    pub tree_of: Option<Generation>,
    /// When it was received, in milliseconds since 1970.
    pub built_ms: i64,
    /// When it was packed, in milliseconds since 1970; 0 until then.
    pub packed_ms: i64,
    /// The kernel in it.
    pub kernel_version: String,
    /// Who built it.
    pub agent: Option<String>,
    /// Number of installed packages; 0 if unknown.
    pub packages: u32,
    /// The processor that it was built on, where that is of another architecture than the image.
    pub emulated_on: Option<String>,
    /// What it holds.
    pub artefacts: Vec<Artefact>,
    /// Edits of its tree since it was received; only when one generation is shown.
    pub edits: Vec<EditView>,
}

impl TryFrom<v1::Generation> for GenerationView {
    type Error = FieldViolation;

    fn try_from(wire: v1::Generation) -> Result<Self, FieldViolation> {
        let v1::Generation {
            number,
            osimage,
            build,
            rootimgdir,
            path,
            state,
            live,
            built_ms,
            packed_ms,
            kernel_version,
            agent,
            artefacts,
            edits,
            packages,
            tree_of,
            emulated_on,
        } = wire;
        Ok(Self {
            number,
            osimage,
            build: BuildId::new(build),
            rootimgdir: rootimgdir.into(),
            path: path.into(),
            state,
            live,
            tree_of: Generation::new(tree_of),
            built_ms,
            packed_ms,
            kernel_version,
            agent: some_text(agent),
            packages,
            emulated_on: some_text(emulated_on),
            artefacts: artefacts.into_iter().map(Artefact::try_from).collect::<Result<_, _>>()?,
            edits: edits.into_iter().map(EditView::from).collect(),
        })
    }
}

/// One local edit of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EditView {
    /// The path in the tree.
    pub path: String,
    /// `added`, `removed` or `changed: …`.
    pub change: String,
}

impl From<v1::TreeEdit> for EditView {
    fn from(wire: v1::TreeEdit) -> Self {
        let v1::TreeEdit { path, change } = wire;
        Self { path, change }
    }
}

/// Why a build waits or failed.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The build.
    pub build: Value,
    /// One sentence.
    pub summary: String,
    /// Each agent, and what it lacks.
    pub agents: Vec<Verdict>,
    /// What to do next.
    pub hint: Option<String>,
}

/// What one agent lacks for a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The agent.
    pub agent: String,
    /// Nothing: it fits.
    pub lacks: Vec<String>,
    /// The processor that it would emulate on; none: it would build natively, or not at all.
    pub emulated_on: Option<String>,
}

impl From<v1::AgentVerdict> for Verdict {
    fn from(wire: v1::AgentVerdict) -> Self {
        let v1::AgentVerdict { agent, lacks, emulated_on } = wire;
        Self { agent, lacks, emulated_on: some_text(emulated_on) }
    }
}

/// What a dry run would have queued.
#[derive(Debug, Clone, Serialize)]
pub struct DryRunView {
    /// Of what.
    pub osimage: String,
    /// The plan, as an agent would get it.
    pub plan: Value,
    /// What packimage would apply.
    pub packimage: Value,
    /// Each agent, and what it lacks to run it now.
    pub agents: Vec<Verdict>,
}

/// A token that lets an agent join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenView {
    /// The token.
    pub token: String,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: i64,
    /// sha256 of the CA's certificate.
    pub ca_fingerprint: String,
    /// What to run on the node.
    pub command: String,
}

/// Takes an answer over; one that breaks the contract is the fault of a coordinator of another version.
pub fn taken<W, M>(client: &Client, wire: W) -> Result<M, Failure>
where
    M: TryFrom<W, Error = FieldViolation>,
{
    M::try_from(wire).map_err(|violation| {
        let address = &client.endpoint().address;
        Failure::refused(format!("cannot understand the answer of the coordinator at {address}: {violation}"))
            .hint("are it and this imgctl of the same version?")
    })
}

/// Takes a list of answers over.
pub fn taken_all<W, M>(client: &Client, wire: Vec<W>) -> Result<Vec<M>, Failure>
where
    M: TryFrom<W, Error = FieldViolation>,
{
    wire.into_iter().map(|wire| taken(client, wire)).collect()
}

/// Empty text means "none".
pub fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
