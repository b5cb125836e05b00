//! Agents: what they say of their nodes, and how the coordinator shows them.

use model::agent::{
    AgentFacts, AgentRecord, AgentState, AgentView, AgentWork, Condition, Drained, Effect, InstallView, Survey,
};
use model::emulation::{Emulation, EmulationFault};
use model::id::AttemptId;

use super::some_text;
use crate::v1;
use crate::violation::{FieldViolation, OfField, each};

impl From<AgentFacts> for v1::AgentFacts {
    fn from(facts: AgentFacts) -> Self {
        let AgentFacts {
            arch,
            os,
            kernel,
            package_systems,
            tools,
            scratch_free_bytes,
            scratch_total_bytes,
            memory_bytes,
            cpus,
            install,
            slots,
            version,
            conditions,
            emulations,
            emulated_on,
        } = facts;
        Self {
            arch: arch.as_str().to_owned(),
            os,
            kernel,
            package_systems,
            tools,
            scratch_free_bytes,
            scratch_total_bytes,
            memory_bytes,
            cpus,
            install: install.as_str().to_owned(),
            slots,
            version,
            conditions: conditions.into_iter().map(Into::into).collect(),
            emulations: emulations.into_iter().map(Into::into).collect(),
            emulated_on: emulated_on.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::AgentFacts> for AgentFacts {
    type Error = FieldViolation;

    fn try_from(wire: v1::AgentFacts) -> Result<Self, FieldViolation> {
        let v1::AgentFacts {
            arch,
            os,
            kernel,
            package_systems,
            tools,
            scratch_free_bytes,
            scratch_total_bytes,
            memory_bytes,
            cpus,
            install,
            slots,
            version,
            conditions,
            emulations,
            emulated_on,
        } = wire;
        Ok(Self {
            arch: arch.parse().of_field("arch")?,
            os,
            kernel,
            package_systems,
            tools,
            scratch_free_bytes,
            scratch_total_bytes,
            memory_bytes,
            cpus,
            install: install_of_word(&install)?,
            slots,
            version,
            conditions: each("conditions", conditions)?,
            emulations: each("emulations", emulations)?,
            emulated_on: some_text(emulated_on),
        })
    }
}

impl From<Emulation> for v1::Emulation {
    fn from(Emulation { arch, fault }: Emulation) -> Self {
        let on_wire = |EmulationFault { name, cause, remedy }| v1::EmulationFault { name, cause, remedy };
        Self { arch: arch.as_str().to_owned(), fault: fault.map(on_wire) }
    }
}

impl TryFrom<v1::Emulation> for Emulation {
    type Error = FieldViolation;

    fn try_from(wire: v1::Emulation) -> Result<Self, FieldViolation> {
        let v1::Emulation { arch, fault } = wire;
        let fault = fault.map(|v1::EmulationFault { name, cause, remedy }| EmulationFault { name, cause, remedy });
        Ok(Self { arch: arch.parse().of_field("arch")?, fault })
    }
}

fn install_of_word(word: &str) -> Result<InstallView, FieldViolation> {
    Ok(match word {
        "local" => InstallView::Local,
        "nfs" => InstallView::Nfs,
        "none" => InstallView::None,
        _ => return Err(FieldViolation::new("install", format_args!("`{word}` is none of local, nfs and none"))),
    })
}

impl From<Condition> for v1::Condition {
    fn from(Condition { name, effect, detail, remedy }: Condition) -> Self {
        Self { name, effect: effect.as_str().to_owned(), detail, remedy }
    }
}

impl TryFrom<v1::Condition> for Condition {
    type Error = FieldViolation;

    fn try_from(wire: v1::Condition) -> Result<Self, FieldViolation> {
        let v1::Condition { name, effect, detail, remedy } = wire;
        Ok(Self { name, effect: effect_of_word(&effect), detail, remedy })
    }
}

impl From<Survey> for v1::Survey {
    fn from(Survey { install, conditions }: Survey) -> Self {
        Self { install: install.as_str().to_owned(), conditions: conditions.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::Survey> for Survey {
    type Error = FieldViolation;

    fn try_from(wire: v1::Survey) -> Result<Self, FieldViolation> {
        let v1::Survey { install, conditions } = wire;
        Ok(Self { install: install_of_word(&install)?, conditions: each("conditions", conditions)? })
    }
}

/// A word that only a newer agent knows keeps it from nothing that this coordinator could name.
fn effect_of_word(word: &str) -> Effect {
    let all = [Effect::Note, Effect::NoPublish, Effect::NoInstall, Effect::NoBuilds];
    all.into_iter().find(|effect| effect.as_str() == word).unwrap_or(Effect::Note)
}

impl From<AgentView> for v1::Agent {
    fn from(view: AgentView) -> Self {
        let AgentView { record, state, work, load_hundredths } = view;
        let AgentRecord { name, joined_ms, certificate_sha256, certificate_expires_ms, facts, last_seen_ms, drained } =
            record;
        Self {
            name: name.into(),
            state: state.as_str().to_owned(),
            facts: facts.map(Into::into),
            joined_ms,
            last_seen_ms,
            work: work.into_iter().map(Into::into).collect(),
            certificate_sha256,
            certificate_expires_ms,
            drained: drained.map(Into::into),
            load_hundredths,
        }
    }
}

impl TryFrom<v1::Agent> for AgentView {
    type Error = FieldViolation;

    fn try_from(wire: v1::Agent) -> Result<Self, FieldViolation> {
        let v1::Agent {
            name,
            state,
            facts,
            joined_ms,
            last_seen_ms,
            work,
            certificate_sha256,
            certificate_expires_ms,
            drained,
            load_hundredths,
        } = wire;
        let facts = facts.map(AgentFacts::try_from).transpose().map_err(|error| error.scope("facts"))?;
        let name = name.parse().of_field("name")?;
        let drained = drained.map(Drained::try_from).transpose().map_err(|error| error.scope("drained"))?;
        let record =
            AgentRecord { name, joined_ms, certificate_sha256, certificate_expires_ms, facts, last_seen_ms, drained };
        let work = each("work", work)?;
        Ok(Self { record, state: state_of_word(&state)?, work, load_hundredths })
    }
}

impl From<AgentWork> for v1::AgentWork {
    fn from(AgentWork { attempt, osimage, doing }: AgentWork) -> Self {
        Self { build: attempt.build.get(), attempt: attempt.attempt.get(), osimage: osimage.into(), doing }
    }
}

impl TryFrom<v1::AgentWork> for AgentWork {
    type Error = FieldViolation;

    fn try_from(wire: v1::AgentWork) -> Result<Self, FieldViolation> {
        let v1::AgentWork { build, attempt, osimage, doing } = wire;
        let attempt = AttemptId::try_from(v1::AttemptRef { build, attempt })?;
        Ok(Self { attempt, osimage: osimage.parse().of_field("osimage")?, doing })
    }
}

impl From<Drained> for v1::Drained {
    fn from(Drained { by, since_ms, reason }: Drained) -> Self {
        Self { by: by.into(), since_ms, reason }
    }
}

impl TryFrom<v1::Drained> for Drained {
    type Error = FieldViolation;

    fn try_from(wire: v1::Drained) -> Result<Self, FieldViolation> {
        let v1::Drained { by, since_ms, reason } = wire;
        Ok(Self { by: by.parse().of_field("by")?, since_ms, reason })
    }
}

fn state_of_word(word: &str) -> Result<AgentState, FieldViolation> {
    Ok(match word {
        "connected" => AgentState::Connected,
        "silent" => AgentState::Silent,
        "offline" => AgentState::Offline,
        _ => return Err(FieldViolation::new("state", format_args!("`{word}` is not an agent's state"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::arch::Arch;
    use model::id::{Attempt, BuildId};

    fn view() -> AgentView {
        let facts = AgentFacts {
            arch: Arch::Ppc64le,
            os: "rhel9.4".into(),
            kernel: "5.14.0".into(),
            package_systems: vec!["dnf".into()],
            tools: vec!["dnf 4.14".into()],
            scratch_free_bytes: 1,
            scratch_total_bytes: 2,
            memory_bytes: 3,
            cpus: 4,
            install: InstallView::Nfs,
            slots: 5,
            version: "0.1.0".into(),
            conditions: [Effect::Note, Effect::NoPublish, Effect::NoInstall, Effect::NoBuilds]
                .map(|effect| Condition { name: "x".into(), effect, detail: "y".into(), remedy: "z".into() })
                .to_vec(),
            emulations: vec![Emulation {
                arch: Arch::Aarch64,
                fault: Some(EmulationFault { name: "n".into(), cause: "c".into(), remedy: "r".into() }),
            }],
            emulated_on: Some("x86_64".into()),
        };
        let record = AgentRecord {
            name: "p9-01".parse().unwrap(),
            joined_ms: 6,
            certificate_sha256: "ab".into(),
            certificate_expires_ms: 7,
            facts: Some(facts),
            last_seen_ms: 8,
            drained: Some(Drained { by: "root".parse().unwrap(), since_ms: 9, reason: "a new disk".into() }),
        };
        let attempt = AttemptId { build: BuildId::new(12).unwrap(), attempt: Attempt::FIRST };
        let work = vec![AgentWork { attempt, osimage: "compute".parse().unwrap(), doing: "packages".into() }];
        AgentView { record, state: AgentState::Silent, work, load_hundredths: 150 }
    }

    #[test]
    fn an_agent_survives_the_way_over_the_wire() {
        assert_eq!(AgentView::try_from(v1::Agent::from(view())).unwrap(), view());
    }

    #[test]
    fn a_violation_names_the_field_of_the_facts() {
        let mut wire = v1::Agent::from(view());
        wire.facts.as_mut().unwrap().arch = "vax".into();
        assert_eq!(AgentView::try_from(wire).unwrap_err().field(), "facts.arch");
    }
}
