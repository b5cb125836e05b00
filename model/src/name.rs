//! Checked strings: the names of osimages and of agents.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name that is taken; it must fit a file name with room for a suffix.
const MAX_LEN: usize = 200;

/// Why a string can't be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing was given.
    #[error("{what} must not be empty")]
    Empty {
        /// What the name is for.
        what: &'static str,
    },
    /// More than fits a file name.
    #[error("{what} `{}…` is {len} bytes long; at most {MAX_LEN} are allowed", name.chars().take(40).collect::<String>())]
    TooLong {
        /// What the name is for.
        what: &'static str,
        /// The name as given.
        name: String,
        /// Its length in bytes.
        len: usize,
    },
    /// A character that would change the meaning of a stanza file, a path or a command line.
    #[error("{what} `{}` must not hold {bad:?}; letters, digits and . _ + @ - are allowed, the first one a letter or digit", name.escape_debug())]
    BadCharacter {
        /// What the name is for.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The first offending character.
        bad: char,
    },
}

fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty { what });
    }
    if name.len() > MAX_LEN {
        return Err(InvalidName::TooLong { what, name: name.to_owned(), len: name.len() });
    }
    let allowed = |(at, c): (usize, char)| c.is_ascii_alphanumeric() || (at > 0 && ".-_+@".contains(c));
    match name.char_indices().find(|&found| !allowed(found)) {
        Some((_, bad)) => Err(InvalidName::BadCharacter { what, name: name.to_owned(), bad }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check($what, text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                check($what, &text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// The name of an osimage, by custom `<osvers>-<osarch>-<provmethod>-<profile>` (XCAT.md 1.1).
    ImageName, "the osimage name"
);
name!(
    /// The name of an agent, by custom the short host name of its node.
    AgentName, "the agent name"
);
name!(
    /// The name of a person or program that calls the coordinator.
    UserName, "the user name"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_path_or_a_stanza_are_refused() {
        for bad in ["", "a b", "a/b", "a:b", "a=b", "../x", ".hidden", "-rf", "ä", "a\nb", "a,b"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(201).parse::<ImageName>().is_err());
        for good in ["rhels9.4-x86_64-netboot-compute", "a", "lab9+gpu@site_1"] {
            assert_eq!(good.parse::<ImageName>().unwrap().as_str(), good);
        }
    }
}
