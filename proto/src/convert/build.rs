//! Builds with their state, attempts, artefacts and failure.
//!
//! Not on the wire: who asked for the end of a build that is being packed, the staging folder of an attempt, whose name is a secret of the coordinator and one agent, and
//! what was published into it.

use std::path::PathBuf;

use model::build::{Artefact, AttemptRecord, Build, BuildState, Failure, Needs, PackWish, Part};
use model::id::{Attempt, BuildId, Generation};
use model::name::AgentName;
use model::plan::RpmDatabase;

use super::{path_text, some_text};
use crate::v1;
use crate::v1::build_state as wire_state;
use crate::violation::{FieldViolation, OfField, each};

/// `activity` is empty: the coordinator knows it and the record doesn't.
impl From<Build> for v1::Build {
    fn from(build: Build) -> Self {
        let Build {
            id,
            osimage,
            revision,
            arch,
            needs,
            rootimgdir,
            part,
            pack,
            submitted_by,
            submitted_ms,
            ended_ms,
            priority,
            plan,
            state,
            attempts,
            generation,
            artefacts,
            warnings,
            genimage,
            initrds,
            cancel_by: _,
        } = build;
        let Needs { package_system, rpm_database, osvers, install, agent } = needs;
        let rpm_database = rpm_database.map_or_else(String::new, |database| database.backend().to_owned());
        Self {
            id: id.get(),
            osimage: osimage.into(),
            revision,
            arch: arch.as_str().to_owned(),
            rootimgdir: path_text(&rootimgdir),
            part: v1::Part::from(part).into(),
            submitted_by: submitted_by.into(),
            submitted_ms,
            ended_ms,
            agent: agent.map(String::from).unwrap_or_default(),
            priority,
            state: Some(state.into()),
            attempts: attempts.into_iter().map(Into::into).collect(),
            generation: generation.map_or(0, Generation::get),
            artefacts: artefacts.into_iter().map(Into::into).collect(),
            warnings,
            activity: String::new(),
            needs: Some(v1::Needs { package_system, osvers, install, rpm_database }),
            pack: Some(pack.into()),
            plan: plan.unwrap_or_default(),
            genimage: Some(genimage.into()),
            initrds: initrds.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Build> for Build {
    type Error = FieldViolation;

    fn try_from(wire: v1::Build) -> Result<Self, FieldViolation> {
        let v1::Build {
            id,
            osimage,
            revision,
            arch,
            rootimgdir,
            part,
            submitted_by,
            submitted_ms,
            ended_ms,
            agent,
            priority,
            state,
            attempts,
            generation,
            artefacts,
            warnings,
            activity: _,
            needs,
            pack,
            plan,
            genimage,
            initrds,
        } = wire;
        let v1::Needs { package_system, osvers, install, rpm_database } = needs.of_field("needs")?;
        let rpm_database = RpmDatabase::ALL.into_iter().find(|known| known.backend() == rpm_database);
        let agent = some_text(agent).map(AgentName::try_from).transpose().of_field("agent")?;
        Ok(Self {
            id: BuildId::new(id).of_field("id")?,
            osimage: osimage.parse().of_field("osimage")?,
            revision,
            arch: arch.parse().of_field("arch")?,
            needs: Needs { package_system, rpm_database, osvers, install, agent },
            rootimgdir: rootimgdir.into(),
            part: part_of_wire(part)?,
            pack: pack.of_field("pack")?.into(),
            submitted_by: submitted_by.parse().of_field("submitted_by")?,
            submitted_ms,
            ended_ms,
            priority,
            plan: some_text(plan),
            state: BuildState::try_from(state.of_field("state")?).map_err(|error| error.scope("state"))?,
            attempts: each("attempts", attempts)?,
            generation: Generation::new(generation),
            artefacts: each("artefacts", artefacts)?,
            warnings,
            // A coordinator of an older release says nothing of it.
            genimage: genimage
                .unwrap_or_default()
                .try_into()
                .map_err(|error: FieldViolation| error.scope("genimage"))?,
            initrds: initrds.into_iter().map(Into::into).collect(),
            cancel_by: None,
        })
    }
}

impl From<Part> for v1::Part {
    fn from(part: Part) -> Self {
        match part {
            Part::Both => Self::Both,
            Part::Genimage => Self::Genimage,
            Part::Packimage => Self::Packimage,
        }
    }
}

impl TryFrom<v1::Part> for Part {
    type Error = FieldViolation;

    fn try_from(wire: v1::Part) -> Result<Self, FieldViolation> {
        Ok(match wire {
            v1::Part::Both => Self::Both,
            v1::Part::Genimage => Self::Genimage,
            v1::Part::Packimage => Self::Packimage,
            v1::Part::Unspecified => return Err(FieldViolation::required("part")),
        })
    }
}

fn part_of_wire(number: i32) -> Result<Part, FieldViolation> {
    v1::Part::try_from(number).of_field("part").and_then(Part::try_from)
}

impl From<PackWish> for v1::PackWish {
    fn from(wish: PackWish) -> Self {
        let PackWish { method, compress, nosyncfiles } = wish;
        Self { method, compress, nosyncfiles }
    }
}

impl From<v1::PackWish> for PackWish {
    fn from(wire: v1::PackWish) -> Self {
        let v1::PackWish { method, compress, nosyncfiles } = wire;
        Self { method, compress, nosyncfiles }
    }
}

/// `waiting_for` is empty: the coordinator's queue knows it and the record doesn't.
impl From<BuildState> for v1::BuildState {
    fn from(state: BuildState) -> Self {
        use wire_state::State;
        let state = match state {
            BuildState::Queued => State::Queued(wire_state::Queued { waiting_for: String::new() }),
            BuildState::Leased { agent, attempt } => {
                State::Leased(wire_state::Leased { agent: agent.into(), attempt: attempt.get() })
            }
            BuildState::Running { agent, attempt, stage } => State::Running(wire_state::Running {
                agent: agent.into(),
                attempt: attempt.get(),
                stage: stage.as_str().to_owned(),
            }),
            BuildState::Received { generation } => {
                State::Received(wire_state::Received { generation: generation.get() })
            }
            BuildState::Packing { generation } => State::Packing(wire_state::Packing { generation: generation.get() }),
            BuildState::Succeeded => State::Succeeded(wire_state::Succeeded {}),
            BuildState::Failed { failure } => State::Failed(failure.into()),
            BuildState::Cancelled { by } => State::Cancelled(wire_state::Cancelled { by: by.into() }),
        };
        Self { state: Some(state) }
    }
}

impl TryFrom<v1::BuildState> for BuildState {
    type Error = FieldViolation;

    fn try_from(wire: v1::BuildState) -> Result<Self, FieldViolation> {
        use wire_state::State;
        let v1::BuildState { state } = wire;
        Ok(match state.of_field("state")? {
            State::Queued(wire_state::Queued { waiting_for: _ }) => Self::Queued,
            State::Leased(wire_state::Leased { agent, attempt }) => Self::Leased {
                agent: agent.parse().of_field("leased.agent")?,
                attempt: Attempt::new(attempt).of_field("leased.attempt")?,
            },
            State::Running(wire_state::Running { agent, attempt, stage }) => Self::Running {
                agent: agent.parse().of_field("running.agent")?,
                attempt: Attempt::new(attempt).of_field("running.attempt")?,
                stage: stage.parse().of_field("running.stage")?,
            },
            State::Received(wire_state::Received { generation }) => {
                Self::Received { generation: Generation::new(generation).of_field("received.generation")? }
            }
            State::Packing(wire_state::Packing { generation }) => {
                Self::Packing { generation: Generation::new(generation).of_field("packing.generation")? }
            }
            State::Succeeded(wire_state::Succeeded {}) => Self::Succeeded,
            State::Failed(failure) => Self::Failed { failure: failure.into() },
            State::Cancelled(wire_state::Cancelled { by }) => {
                Self::Cancelled { by: by.parse().of_field("cancelled.by")? }
            }
        })
    }
}

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        let Failure { stage, cause, hint, last_lines } = failure;
        Self { stage, cause, hint: hint.unwrap_or_default(), last_lines }
    }
}

impl From<v1::Failure> for Failure {
    fn from(wire: v1::Failure) -> Self {
        let v1::Failure { stage, cause, hint, last_lines } = wire;
        Self { stage, cause, hint: some_text(hint), last_lines }
    }
}

impl From<AttemptRecord> for v1::AttemptRecord {
    fn from(record: AttemptRecord) -> Self {
        let AttemptRecord {
            attempt,
            agent,
            started_ms,
            ended_ms,
            stages,
            outcome,
            last_event,
            staging: _,
            published: _,
            emulated_on,
        } = record;
        Self {
            attempt: attempt.get(),
            agent: agent.into(),
            started_ms,
            ended_ms,
            stages: stages.into_iter().map(Into::into).collect(),
            outcome: outcome.unwrap_or_default(),
            last_event,
            emulated_on: emulated_on.unwrap_or_default(),
        }
    }
}

/// `staging` is empty: it is not on the wire.
impl TryFrom<v1::AttemptRecord> for AttemptRecord {
    type Error = FieldViolation;

    fn try_from(wire: v1::AttemptRecord) -> Result<Self, FieldViolation> {
        let v1::AttemptRecord { attempt, agent, started_ms, ended_ms, stages, outcome, last_event, emulated_on } = wire;
        Ok(Self {
            attempt: Attempt::new(attempt).of_field("attempt")?,
            agent: agent.parse().of_field("agent")?,
            started_ms,
            ended_ms,
            stages: each("stages", stages)?,
            outcome: some_text(outcome),
            last_event,
            staging: PathBuf::new(),
            published: None,
            emulated_on: some_text(emulated_on),
        })
    }
}

impl From<Artefact> for v1::Artefact {
    fn from(artefact: Artefact) -> Self {
        let Artefact { name, path, bytes, digest } = artefact;
        Self { name, path: path_text(&path), bytes, digest: digest.unwrap_or_default() }
    }
}

impl TryFrom<v1::Artefact> for Artefact {
    type Error = FieldViolation;

    fn try_from(wire: v1::Artefact) -> Result<Self, FieldViolation> {
        let v1::Artefact { name, path, bytes, digest } = wire;
        let name = some_text(name).of_field("name")?;
        Ok(Self { name, path: path.into(), bytes, digest: some_text(digest) })
    }
}

#[cfg(test)]
mod tests;
