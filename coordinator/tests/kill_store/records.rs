//! The records that the writer writes, such that the verifier can tell from each alone whether it is whole; and
//! what has been acknowledged so far.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use coordinator::store::tokens::TokenRecord;
use model::agent::AgentRecord;
use model::build::{Build, BuildState};
use model::generation::{GenerationRecord, GenerationState};
use model::id::{Attempt, BuildId, Generation};
use model::name::AgentName;
use serde::{Deserialize, Serialize};

/// The rootimgdir of all generations.
pub(crate) const ROOTIMGDIR: &str = "/install/r";
/// Generations that are kept.
pub(crate) const KEPT: u32 = 3;
/// Agents that take turns in joining.
const AGENTS: u64 = 40;

/// What must be in the store at least.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Each build with its version.
    pub(crate) builds: BTreeMap<u64, i32>,
    /// The newest generation.
    pub(crate) generation: u32,
    /// The last token that was redeemed.
    pub(crate) token: u64,
}

impl Expected {
    /// Takes an acknowledgement: `build <id> <version>`, `generation <number>`, `token <number>`.
    pub(crate) fn hear(&mut self, ack: &str) {
        match *ack.split(' ').collect::<Vec<_>>() {
            ["build", id, version] => {
                let known = self.builds.entry(id.parse().unwrap()).or_default();
                *known = (*known).max(version.parse().unwrap());
            }
            ["generation", number] => self.generation = self.generation.max(number.parse().unwrap()),
            ["token", number] => self.token = self.token.max(number.parse().unwrap()),
            _ => panic!("not an acknowledgement: {ack}"),
        }
    }

    pub(crate) fn save(&self, folder: &Path) {
        fs::write(folder.join("expected"), serde_json::to_vec(self).unwrap()).unwrap();
    }

    pub(crate) fn load(folder: &Path) -> Self {
        serde_json::from_slice(&fs::read(folder.join("expected")).unwrap()).unwrap()
    }
}

/// The store below the folder of a run.
pub(crate) fn store(folder: &Path) -> PathBuf {
    folder.join("state/db")
}

/// A build whose every field follows from its number and version.
pub(crate) fn build(id: BuildId, version: i32) -> Build {
    let leased = BuildState::Leased { agent: agent_name(id.get()), attempt: Attempt::FIRST };
    Build {
        rootimgdir: ROOTIMGDIR.into(),
        priority: version,
        state: if version % 2 == 0 { BuildState::Queued } else { leased },
        warnings: vec![filling(id.get(), version)],
        ..crate::sample::build(id)
    }
}

/// From nothing to about 6 KiB.
fn filling(id: u64, version: i32) -> String {
    let length = (id as usize * 131 + version as usize * 977) % 6000;
    format!("{id}/{version};").chars().cycle().take(length).collect()
}

pub(crate) fn generation(number: Generation, of: BuildId) -> GenerationRecord {
    GenerationRecord {
        number,
        osimage: "compute".parse().unwrap(),
        build: of,
        rootimgdir: ROOTIMGDIR.into(),
        state: GenerationState::Packed,
        tree_of: None,
        built_ms: 1,
        packed_ms: 2,
        kernel_version: filling(of.get(), 1),
        agent: agent_name(1),
        packages: number.get(),
        emulated_on: None,
        artefacts: Vec::new(),
    }
}

/// The secret of a token, the token, and the agent that joins with it.
pub(crate) fn joining(number: u64) -> (String, TokenRecord, AgentRecord) {
    let name = agent_name(number);
    let token = TokenRecord {
        agent: Some(name.clone()),
        expires_ms: i64::MAX,
        made_by: "root".parse().unwrap(),
        used_by: None,
    };
    let agent = AgentRecord {
        name,
        joined_ms: 1,
        certificate_sha256: number.to_string(),
        certificate_expires_ms: 2,
        facts: None,
        last_seen_ms: 0,
        drained: None,
    };
    (format!("secret-{number}"), token, agent)
}

fn agent_name(number: u64) -> AgentName {
    format!("n{}", number % AGENTS).parse().unwrap()
}
