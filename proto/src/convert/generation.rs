//! Generations as recorded. Whether one is live and what was edited in it the coordinator finds out when it is
//! asked, and fills in itself. Generation 0, what xCAT left, is on the wire only: no record of it is kept.

use model::generation::{GenerationRecord, GenerationState};
use model::id::{BuildId, Generation};

use super::{path_text, some_text};
use crate::v1;
use crate::violation::{FieldViolation, OfField, each};

/// `live` is false and `edits` is empty: they are not recorded.
impl From<GenerationRecord> for v1::Generation {
    fn from(record: GenerationRecord) -> Self {
        let path = path_text(&record.path());
        let GenerationRecord {
            number,
            osimage,
            build,
            rootimgdir,
            state,
            tree_of,
            built_ms,
            packed_ms,
            kernel_version,
            agent,
            packages,
            emulated_on,
            artefacts,
        } = record;
        Self {
            number: number.get(),
            osimage: osimage.into(),
            build: build.get(),
            rootimgdir: path_text(&rootimgdir),
            path,
            state: state.as_str().to_owned(),
            live: false,
            built_ms,
            packed_ms,
            kernel_version,
            agent: agent.into(),
            artefacts: artefacts.into_iter().map(Into::into).collect(),
            edits: Vec::new(),
            packages,
            tree_of: tree_of.map_or(0, Generation::get),
            emulated_on: emulated_on.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Generation> for GenerationRecord {
    type Error = FieldViolation;

    fn try_from(wire: v1::Generation) -> Result<Self, FieldViolation> {
        let v1::Generation {
            number,
            osimage,
            build,
            rootimgdir,
            path: _,
            state,
            live: _,
            built_ms,
            packed_ms,
            kernel_version,
            agent,
            artefacts,
            edits: _,
            packages,
            tree_of,
            emulated_on,
        } = wire;
        Ok(Self {
            number: Generation::new(number).of_field("number")?,
            osimage: osimage.parse().of_field("osimage")?,
            build: BuildId::new(build).of_field("build")?,
            rootimgdir: rootimgdir.into(),
            state: state_of_word(&state)?,
            tree_of: Generation::new(tree_of),
            built_ms,
            packed_ms,
            kernel_version,
            agent: agent.parse().of_field("agent")?,
            packages,
            emulated_on: some_text(emulated_on),
            artefacts: each("artefacts", artefacts)?,
        })
    }
}

fn state_of_word(word: &str) -> Result<GenerationState, FieldViolation> {
    Ok(match word {
        "built" => GenerationState::Built,
        "packed" => GenerationState::Packed,
        _ => return Err(FieldViolation::new("state", format_args!("`{word}` is neither built nor packed"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::build::Artefact;

    #[test]
    fn a_generation_survives_the_way_over_the_wire() {
        let record = GenerationRecord {
            number: Generation::new(7).unwrap(),
            osimage: "compute".parse().unwrap(),
            build: BuildId::new(12).unwrap(),
            rootimgdir: "/install/netboot/rhels9.4/ppc64le/compute".into(),
            state: GenerationState::Packed,
            tree_of: Generation::new(6),
            built_ms: 1,
            packed_ms: 2,
            kernel_version: "5.14.0-427.el9.ppc64le".into(),
            agent: "p9-01".parse().unwrap(),
            packages: 412,
            emulated_on: Some("x86_64".into()),
            artefacts: vec![Artefact { name: "rootimg".into(), path: "/x/rootimg".into(), bytes: 3, digest: None }],
        };
        let wire = v1::Generation::from(record.clone());
        assert_eq!(wire.path, "/install/netboot/rhels9.4/ppc64le/compute/.generations/7");
        assert_eq!(GenerationRecord::try_from(wire).unwrap(), record);
    }
}
