//! Attempts by number, as every message about one carries them.

use model::id::{Attempt, AttemptId, BuildId};

use crate::v1;
use crate::violation::{FieldViolation, OfField};

impl From<AttemptId> for v1::AttemptRef {
    fn from(id: AttemptId) -> Self {
        let AttemptId { build, attempt } = id;
        Self { build: build.get(), attempt: attempt.get() }
    }
}

impl TryFrom<v1::AttemptRef> for AttemptId {
    type Error = FieldViolation;

    fn try_from(wire: v1::AttemptRef) -> Result<Self, FieldViolation> {
        let v1::AttemptRef { build, attempt } = wire;
        Ok(Self { build: BuildId::new(build).of_field("build")?, attempt: Attempt::new(attempt).of_field("attempt")? })
    }
}
