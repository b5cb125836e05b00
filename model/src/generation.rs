//! What builds left in a `rootimgdir`, one generation each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::build::Artefact;
use crate::id::{BuildId, Generation};
use crate::name::{AgentName, ImageName};

/// How far a generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GenerationState {
    /// genimage made it; its tree may be edited.
    Built,
    /// packimage sealed it; its artefacts never change.
    Packed,
}

impl GenerationState {
    /// The state's name as written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Packed => "packed",
        }
    }
}

/// One generation, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// Its number in the rootimgdir.
    pub number: Generation,
    /// Whose definition it was made from.
    pub osimage: ImageName,
    /// The build that made it.
    pub build: BuildId,
    /// The rootimgdir.
    pub rootimgdir: PathBuf,
    /// How far it has come.
    pub state: GenerationState,
    /// The generation whose tree it shares, if it was packed from a sealed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_of: Option<Generation>,
    /// When it was received, in milliseconds since 1970.
    pub built_ms: i64,
    /// When it was packed, in milliseconds since 1970; 0 until then.
    pub packed_ms: i64,
    /// The kernel in it, in `uname -r` form.
    pub kernel_version: String,
    /// Who built it.
    pub agent: AgentName,
    /// Number of installed packages; 0 if unknown.
    pub packages: u32,
    /// The processor that it was built on, where that is of another architecture than the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated_on: Option<String>,
    /// What it holds.
    pub artefacts: Vec<Artefact>,
}

impl GenerationRecord {
    /// Its folder.
    pub fn path(&self) -> PathBuf {
        generation_dir(&self.rootimgdir, self.number)
    }
}

/// The folder of a generation below its rootimgdir (DESIGN.md, On disk).
pub fn generation_dir(rootimgdir: &std::path::Path, number: Generation) -> PathBuf {
    rootimgdir.join(".generations").join(number.to_string())
}
