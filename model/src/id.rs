//! Numbers that name things: builds, attempts, generations.
//!
//! A build's number counts in the site, a generation's in its `rootimgdir`, an attempt's in its build. The
//! attempt number is the fencing token: what an older attempt sends is refused.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text was not a number from 1 upwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what} number; it is written as a whole number from 1")]
pub struct InvalidNumber {
    what: &'static str,
    text: String,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The first number that is given out.
            pub const FIRST: Self = Self(1);

            /// Takes a number over; 0 is kept for "none" on the wire and refused here.
            pub fn new(number: $inner) -> Option<Self> {
                (number > 0).then_some(Self(number))
            }

            /// The bare number.
            pub fn get(self) -> $inner {
                self.0
            }

            /// The number after this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidNumber;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let number: Result<$inner, ParseIntError> = text.trim_start_matches('#').parse();
                number.ok().and_then(Self::new).ok_or_else(|| InvalidNumber { what: $what, text: text.to_owned() })
            }
        }
    };
}

number!(
    /// One run of an osimage through genimage and packimage.
    BuildId(u64), "build"
);
number!(
    /// One try of a build on one agent, counted from 1.
    Attempt(u32), "attempt"
);
number!(
    /// What one build left in a `rootimgdir`, counted in that directory. Generation 0 is what xCAT left there,
    /// so the first of ours is 1.
    Generation(u32), "generation"
);

/// A build's attempt: what an agent holds a lease on and stamps on everything it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The build.
    pub build: BuildId,
    /// Which try of it.
    pub attempt: Attempt,
}

impl AttemptId {
    /// What its archive is called: the agent writes it and the coordinator takes it in under this name.
    pub fn archive_name(self) -> String {
        format!("{self}.tar.zst")
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.build, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_words_are_no_build_numbers() {
        for text in ["0", "", "-1", "x", "1.5", "99999999999999999999999"] {
            assert!(text.parse::<BuildId>().is_err(), "{text}");
        }
        assert_eq!("#12".parse::<BuildId>().unwrap().get(), 12);
    }

    #[test]
    fn an_archive_is_named_for_its_attempt() {
        let attempt = AttemptId { build: BuildId::FIRST, attempt: Attempt::FIRST.next() };
        assert_eq!(attempt.archive_name(), "1.2.tar.zst");
    }
}
