//! What is wrong with a message: the field, by its dotted path, and why it can't be taken.
//!
//! Raised by [`crate::convert`]; on its way out each level adds its own name, so that a caller reads
//! `attempts[1].stages[0].stage` and not "invalid argument".

use std::fmt;

use tonic::Status;

/// A field that holds what it must not, or that is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {problem}")]
pub struct FieldViolation {
    field: String,
    problem: String,
}

impl FieldViolation {
    /// `field` holds something wrong.
    pub fn new(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }

    /// `field` must be given and is not.
    pub fn required(field: impl Into<String>) -> Self {
        Self::new(field, "is required")
    }

    /// The same violation seen from one level further out.
    #[must_use]
    pub fn scope(self, outer: impl fmt::Display) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }

    /// The dotted path of the field.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl From<FieldViolation> for Status {
    fn from(violation: FieldViolation) -> Self {
        Self::invalid_argument(violation.to_string())
    }
}

/// Names the field that a value came from.
pub trait OfField<T> {
    /// Turns an error of the value, or its absence, into a violation of `field`.
    fn of_field(self, field: &str) -> Result<T, FieldViolation>;
}

impl<T, E: fmt::Display> OfField<T> for Result<T, E> {
    fn of_field(self, field: &str) -> Result<T, FieldViolation> {
        self.map_err(|error| FieldViolation::new(field, error))
    }
}

impl<T> OfField<T> for Option<T> {
    fn of_field(self, field: &str) -> Result<T, FieldViolation> {
        self.ok_or_else(|| FieldViolation::required(field))
    }
}

/// Converts each element of a repeated field; the violation names the one that is wrong.
pub(crate) fn each<W, M>(field: &str, wire: Vec<W>) -> Result<Vec<M>, FieldViolation>
where
    M: TryFrom<W, Error = FieldViolation>,
{
    let convert = |(at, element)| {
        M::try_from(element).map_err(|error: FieldViolation| error.scope(format_args!("{field}[{at}]")))
    };
    wire.into_iter().enumerate().map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_an_invalid_argument_that_names_the_whole_path() {
        let status = Status::from(FieldViolation::required("stage").scope("stages[2]").scope("attempts[0]"));
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.message(), "field `attempts[0].stages[2].stage`: is required");
    }
}
