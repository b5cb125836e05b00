//! One change of a definition, as `chdef` and the API word it: `attr=v`, `attr+=v`, `attr-=v`, `attr=`.
//!
//! `+=` and `-=` are ours (XCAT.md 14.2); `-p` and `-m` of `chdef` are the same changes under another spelling.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One change of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeChange {
    /// `attribute=value`.
    Set {
        /// The attribute.
        name: String,
        /// Its new value.
        value: String,
    },
    /// `attribute+=item,item`: appends the items that it doesn't have yet.
    Add {
        /// The attribute.
        name: String,
        /// The items, separated by commas.
        value: String,
    },
    /// `attribute-=item,item`: takes the items out; an item that it doesn't have is an error.
    Remove {
        /// The attribute.
        name: String,
        /// The items, separated by commas.
        value: String,
    },
    /// `attribute=`: unsets it.
    Clear {
        /// The attribute.
        name: String,
    },
}

/// Not of the form of a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form attribute=value, attribute+=item, attribute-=item or attribute=")]
pub struct InvalidChange(pub String);

impl FromStr for AttributeChange {
    type Err = InvalidChange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (left, value) = text.split_once('=').ok_or_else(|| InvalidChange(text.to_owned()))?;
        let value = value.trim().to_owned();
        let (name, operator) = match left.strip_suffix(['+', '-']) {
            Some(name) => (name, &left[name.len()..]),
            None => (left, ""),
        };
        let name = name.trim().to_owned();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(InvalidChange(text.to_owned()));
        }
        Ok(match operator {
            "+" => Self::Add { name, value },
            "-" => Self::Remove { name, value },
            _ if value.is_empty() => Self::Clear { name },
            _ => Self::Set { name, value },
        })
    }
}

impl AttributeChange {
    /// The attribute that it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Set { name, .. } | Self::Add { name, .. } | Self::Remove { name, .. } | Self::Clear { name } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_forms_of_a_change_are_told_apart() {
        let set = |name: &str, value: &str| AttributeChange::Set { name: name.into(), value: value.into() };
        let table = [
            ("a=b=c", set("a", "b=c")),
            ("addkcmdline=x+=y", set("addkcmdline", "x+=y")),
            ("a+=b,c", AttributeChange::Add { name: "a".into(), value: "b,c".into() }),
            ("a-=b", AttributeChange::Remove { name: "a".into(), value: "b".into() }),
            ("a=", AttributeChange::Clear { name: "a".into() }),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<AttributeChange>(), Ok(expected), "{text}");
        }
        for bad in ["", "a", "=b", "+=b", "a b=c"] {
            assert!(bad.parse::<AttributeChange>().is_err(), "{bad}");
        }
    }
}
