//! What a submission asks of genimage beyond the definition, for this build alone (XCAT.md 6.1).
//!
//! xCAT writes every option back into the osimage. Here the definition stays as it is unless the user says `--save`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::osimage::{AttributeChange, Osimage};
use crate::problem::Problem;

/// Attributes that say which image it is: with another value it would be another osimage in this one's place.
const OWN: [&str; 7] = ["disable", "imagetype", "osarch", "osvers", "profile", "provmethod", "rootimgdir"];

/// The most bytes of changes that are taken: they stand in the build's record.
const MOST: usize = 8 << 10;

/// genimage's options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenimageWish {
    /// Changes of attributes, each as `attribute=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// The limit of the root's tmpfs on a booted node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_limit: Option<TmpfsSize>,
    /// Take modules from driver packages that were built for another kernel.
    #[serde(default)]
    pub ignore_kernel_check: bool,
    /// Only the initrds, from the newest root image as it stands.
    #[serde(default)]
    pub only_initrd: bool,
}

impl GenimageWish {
    /// The changes, or what is wrong with each.
    pub fn changes(&self) -> Result<Vec<AttributeChange>, Vec<Problem>> {
        let (mut changes, mut problems) = (Vec::new(), Vec::new());
        if self.set.iter().map(String::len).sum::<usize>() > MOST {
            let text =
                format!("the attributes that are given for one build are longer than {} KiB together", MOST >> 10);
            problems.push(Problem::new(format!("{text}; set them in the definition")));
        }
        for text in &self.set {
            match text.parse::<AttributeChange>() {
                Ok(change) if OWN.contains(&change.name()) => {
                    let text = format!("{} says which image it is and can't be another for one build", change.name());
                    problems.push(Problem::new(format!("{text}; `imgctl osimage copy` makes an image of its own")));
                }
                Ok(change) => changes.push(change),
                Err(error) => problems.push(Problem::new(error.to_string())),
            }
        }
        if problems.is_empty() { Ok(changes) } else { Err(problems) }
    }

    /// The definition as this build sees it, under the same revision.
    pub fn applied(&self, osimage: &Osimage) -> Result<Osimage, Vec<Problem>> {
        let mut changed = osimage.clone();
        changed.apply(&self.changes()?)?;
        Ok(changed)
    }
}

/// A size as tmpfs takes it: bytes with `k`, `m`, `g`, or a part of the memory with `%`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TmpfsSize(String);

/// Not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the size of a tmpfs; write a number with k, m or g, or a part of the memory such as 50%")]
pub struct InvalidSize(String);

impl FromStr for TmpfsSize {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let number = text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(text);
        // tmpfs takes 0 for "no limit at all", which nobody means.
        let fits = number.bytes().all(|byte| byte.is_ascii_digit()) && number.parse::<u64>().is_ok_and(|size| size > 0);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidSize(text.to_owned())) }
    }
}

impl TryFrom<String> for TmpfsSize {
    type Error = InvalidSize;

    fn try_from(text: String) -> Result<Self, InvalidSize> {
        text.parse()
    }
}

impl From<TmpfsSize> for String {
    fn from(size: TmpfsSize) -> String {
        size.0
    }
}

impl fmt::Display for TmpfsSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_tmpfs() {
        for good in ["8G", "512m", "50%", "1048576"] {
            assert_eq!(good.parse::<TmpfsSize>().unwrap().to_string(), good);
        }
        for bad in ["", "G", "0", "0%", "-1g", "8GB", "8 G", "+8g", "1,mode=777"] {
            assert!(bad.parse::<TmpfsSize>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<TmpfsSize>("\"8G,uid=1\"").is_err());
    }

    #[test]
    fn a_wish_changes_a_copy_and_never_which_image_it_is() {
        let changes = ["osarch=x86_64", "netdrivers=tg3"].map(|text| text.parse().unwrap());
        let osimage = Osimage::create("a".parse().unwrap(), &changes, 0).unwrap();
        let wish =
            |set: &[&str]| GenimageWish { set: set.iter().map(ToString::to_string).collect(), ..Default::default() };
        let seen = wish(&["netdrivers+=ice", "kernelver=6.1.0-50-amd64"]).applied(&osimage).unwrap();
        assert_eq!((seen.get("netdrivers"), seen.get("kernelver")), (Some("tg3,ice"), Some("6.1.0-50-amd64")));
        assert_eq!((osimage.get("netdrivers"), seen.revision), (Some("tg3"), osimage.revision));
        let problems = wish(&["rootimgdir=/x", "kernelver", "osarch="]).applied(&osimage).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(wish(&["permission=banana"]).applied(&osimage).is_err());
        assert!(wish(&[&format!("netdrivers={}", "x".repeat(MOST))]).applied(&osimage).is_err());
    }
}
