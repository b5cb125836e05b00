//! What is wrong with something that people wrote, and where: the noun for problems that are collected.
//!
//! Readers of definitions, stanza files and lists return every problem of what they read at once, so that one
//! correction is enough. The same noun carries warnings; the list that it stands in tells them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong, with its place if it has one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// `file:line`, if it stands in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Problem {
    /// A problem without a place in a file.
    pub fn new(message: impl Into<String>) -> Self {
        Self { at: None, message: message.into() }
    }

    /// A problem that stands at `file:line`.
    pub fn at(place: impl fmt::Display, message: impl Into<String>) -> Self {
        Self { at: Some(place.to_string()), message: message.into() }
    }

    /// The same problem with a place, unless it has one already.
    #[must_use]
    pub fn placed(mut self, place: Option<&str>) -> Self {
        self.at = self.at.or_else(|| place.map(str::to_owned));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{at}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_first_and_the_first_place_stays() {
        assert_eq!(Problem::at("/a:3", "no").to_string(), "/a:3: no");
        assert_eq!(Problem::new("no").to_string(), "no");
        assert_eq!(Problem::at("/a:3", "no").placed(Some("/b:1")).to_string(), "/a:3: no");
    }
}
