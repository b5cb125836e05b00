//! The definition itself, and the changes that are made to it (XCAT.md 1.6, 1.7).
//!
//! A change set is applied whole or not at all, and every bad change of it is reported. Attributes are kept as the
//! operator wrote them: unset and empty are the same, as in xCAT. `+=` and `-=` are ours (XCAT.md 14.2); `-p` and
//! `-m` of `chdef` are the same changes under another spelling.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::attribute::{ATTRIBUTES, Attribute, Kind, OBJTYPE, find, nearest, split_list};
pub use super::change::{AttributeChange, InvalidChange};
use super::check::check_value;
use super::repository::split_repositories;
use crate::arch::Arch;
use crate::name::ImageName;
use crate::problem::Problem;

/// A named definition of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Osimage {
    /// Its name.
    pub name: ImageName,
    /// Counts the changes, from 1.
    pub revision: u64,
    /// The attributes that are set, as written.
    pub attributes: BTreeMap<String, String>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last changed, in milliseconds since 1970.
    pub modified_ms: i64,
}

impl Osimage {
    /// Makes a definition. `imagetype=linux` and `osname=Linux` are set unless the changes say otherwise: xCAT's
    /// `mkdef` would refuse most attributes without, and leaves every user to find that out (XCAT.md 1.2).
    pub fn create(name: ImageName, changes: &[AttributeChange], now_ms: i64) -> Result<Self, Vec<Problem>> {
        Self::create_at(name, &without_places(changes), now_ms)
    }

    /// Like [`Osimage::create`], with the `file:line` of each change for the messages.
    pub fn create_at(
        name: ImageName,
        changes: &[(AttributeChange, Option<String>)],
        now_ms: i64,
    ) -> Result<Self, Vec<Problem>> {
        let given = |name: &str| changes.iter().any(|(change, _)| change.name() == name);
        let mut attributes = BTreeMap::new();
        if !given("imagetype") {
            attributes.insert("imagetype".to_owned(), "linux".to_owned());
            if !given("osname") {
                attributes.insert("osname".to_owned(), "Linux".to_owned());
            }
        }
        let mut osimage = Self { name, revision: 0, attributes, created_ms: now_ms, modified_ms: now_ms };
        osimage.apply_at(changes)?;
        osimage.revision = 1;
        Ok(osimage)
    }

    /// Applies all changes, or none and says what is wrong with each. The caller counts `revision` up and dates
    /// `modified_ms` when it stores the result.
    pub fn apply(&mut self, changes: &[AttributeChange]) -> Result<(), Vec<Problem>> {
        self.apply_at(&without_places(changes))
    }

    /// Like [`Osimage::apply`], with the `file:line` of each change for the messages.
    pub fn apply_at(&mut self, changes: &[(AttributeChange, Option<String>)]) -> Result<(), Vec<Problem>> {
        let mut changed = self.clone();
        let mut problems = Vec::new();
        for (change, at) in changes {
            if let Err(found) = changed.apply_one(change) {
                problems.extend(found.into_iter().map(|message| Problem::new(message).placed(at.as_deref())));
            }
        }
        problems.extend(changed.check_linux_only(|name| {
            changes.iter().rev().find(|(change, _)| change.name() == name).and_then(|(_, at)| at.clone())
        }));
        if !problems.is_empty() {
            return Err(problems);
        }
        *self = changed;
        Ok(())
    }

    /// Everything that is wrong with the definition as a whole; one that was made by [`Osimage::apply`] is sound.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, value) in &self.attributes {
            match find(name) {
                Some(attribute) => problems.extend(check_value(attribute, value)),
                None => problems.push(unknown(name)),
            }
        }
        let mut problems: Vec<Problem> = problems.into_iter().map(Problem::new).collect();
        problems.extend(self.check_linux_only(|_| None));
        problems
    }

    /// The value of an attribute, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The items of a comma list; none if it is unset.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.get(name).map(|value| items(name, value)).unwrap_or_default()
    }

    /// The paths of a comma list of files.
    pub fn paths(&self, name: &str) -> Vec<PathBuf> {
        self.list(name).into_iter().map(PathBuf::from).collect()
    }

    /// The variables of `environvar`.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let pairs = self.list("environvar").into_iter().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// `rootimgdir`, else its default below the install root; `None` while that can't be told (XCAT.md 1.2).
    pub fn rootimgdir(&self, install_dir: &Path) -> Option<PathBuf> {
        if let Some(given) = self.get("rootimgdir") {
            return Some(given.into());
        }
        let mut path = install_dir.join("netboot");
        for part in ["osvers", "osarch", "profile"] {
            path.push(self.get(part)?);
        }
        Some(path)
    }

    /// Whether `disable` takes it out of use.
    pub fn is_disabled(&self) -> bool {
        matches!(self.get("disable"), Some("yes" | "1"))
    }

    /// What the user should know when the definition is made or changed, given the other definitions: a shared
    /// `rootimgdir`, and what will keep it from being built.
    pub fn warnings<'a>(&self, others: impl IntoIterator<Item = &'a Self>, install_dir: &Path) -> Vec<Problem> {
        let mut warnings = Vec::new();
        let own = self.rootimgdir(install_dir);
        for other in others.into_iter().filter(|other| other.name != self.name) {
            if own.is_some() && other.rootimgdir(install_dir) == own {
                let shared = own.as_deref().unwrap_or(install_dir).display();
                warnings.push(Problem::new(format!(
                    "identical root image directory: `{shared}` is also that of `{}`, so a build of one replaces the other; set rootimgdir to keep both", other.name
                )));
            }
        }
        warnings.extend(self.foreign_rootimgdir().map(Problem::new));
        let diskless = matches!(self.get("provmethod"), Some("netboot" | "statelite"));
        for needed in ["osvers", "osarch", "profile"] {
            if diskless && self.get(needed).is_none() {
                warnings.push(Problem::new(format!("{needed} is not set; the image can't be built without")));
            }
        }
        warnings
    }

    /// A copy whose architecture was changed keeps its rootimgdir, which then tells of the old one.
    fn foreign_rootimgdir(&self) -> Option<String> {
        let (dir, own) = (self.get("rootimgdir")?, self.get("osarch")?.parse::<Arch>().ok()?);
        let other = dir.split('/').find(|part| part.parse::<Arch>().is_ok_and(|arch| arch != own))?;
        Some(format!(
            "rootimgdir `{dir}` lies below `{other}`, but osarch is {own}; set rootimgdir, or clear it for the usual place"
        ))
    }

    fn apply_one(&mut self, change: &AttributeChange) -> Result<(), Vec<String>> {
        let name = change.name();
        let attribute = find(name).ok_or_else(|| vec![unknown(name)])?;
        let value = match change {
            AttributeChange::Clear { .. } => String::new(),
            AttributeChange::Set { value, .. } => value.trim().to_owned(),
            AttributeChange::Add { value, .. } => self.with_items(attribute, value)?,
            AttributeChange::Remove { value, .. } => self.without_items(attribute, value)?,
        };
        let problems = check_value(attribute, &value);
        if !problems.is_empty() {
            return Err(problems);
        }
        if value.is_empty() {
            self.attributes.remove(name);
        } else {
            self.attributes.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn with_items(&self, attribute: &Attribute, value: &str) -> Result<String, Vec<String>> {
        let mut all = self.list(attribute.name);
        for item in items(attribute.name, value) {
            if !all.contains(&item) {
                all.push(item);
            }
        }
        Ok(all.join(","))
    }

    fn without_items(&self, attribute: &Attribute, value: &str) -> Result<String, Vec<String>> {
        let mut all = self.list(attribute.name);
        let mut problems = Vec::new();
        for item in items(attribute.name, value) {
            let before = all.len();
            all.retain(|kept| *kept != item);
            if all.len() == before {
                problems.push(format!(
                    "{item} is not in the attribute of '{}' for the '{}' definition.",
                    attribute.name, self.name
                ));
            }
        }
        if problems.is_empty() { Ok(all.join(",")) } else { Err(problems) }
    }

    fn check_linux_only(&self, place: impl Fn(&str) -> Option<String>) -> Vec<Problem> {
        if self.get("imagetype") == Some("linux") {
            return Vec::new();
        }
        let refused = ATTRIBUTES.iter().filter(|attribute| attribute.linux_only && self.get(attribute.name).is_some());
        let message = |name| format!("Cannot set the attr='{name}' attribute unless imagetype value is linux.");
        refused.map(|a| Problem::new(message(a.name)).placed(place(a.name).as_deref())).collect()
    }
}

fn items<'a>(name: &str, value: &'a str) -> Vec<&'a str> {
    match find(name).map(|attribute| attribute.kind) {
        Some(Kind::Repositories) => split_repositories(value),
        _ => split_list(value).collect(),
    }
}

fn unknown(name: &str) -> String {
    if name == OBJTYPE || name == "imagename" {
        return format!("`{name}` can't be set: the name of an osimage is changed by renaming it, its type never");
    }
    let hint =
        nearest(name).map_or("; check its spelling".to_owned(), |near| format!("; did you mean `{}`?", near.name));
    format!("'{}' is not a valid attribute name for an object type of 'osimage'{hint}", name.escape_debug())
}

fn without_places(changes: &[AttributeChange]) -> Vec<(AttributeChange, Option<String>)> {
    changes.iter().map(|change| (change.clone(), None)).collect()
}

#[cfg(test)]
mod tests;
