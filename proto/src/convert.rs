//! Between the wire and the nouns of `model`, one file per noun, both directions.
//!
//! Past this border nothing is half valid: what is missing or malformed ends as a [`crate::violation`]. Every
//! message is destructured in full, so that a new field of the contract stops the build at the right place.
//! The conventions of the wire end here as well: empty text and 0 mean "none".

mod agent;
mod attempt;
mod build;
mod generation;
mod osimage;
mod problem;
pub mod stage;
mod wish;

/// Empty text means "none".
fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A path as text; the bytes of one that is not UTF-8 are replaced, as it is for display.
fn path_text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
