//! What the steps of the resolver find out on their way: problems, warnings and where values came from.

use model::plan::{Origin, ResolvedAttribute};
use model::problem::Problem;

/// Gathers what every step has to say.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) attributes: Vec<ResolvedAttribute>,
    pub(super) needs_install: Vec<String>,
    /// The attributes that the command line gives, for this build alone.
    pub(super) once: Vec<String>,
}

impl Notes {
    /// Something that stops the build.
    pub(super) fn problem(&mut self, message: impl Into<String>) {
        self.problems.push(Problem::new(message));
    }

    /// Something that the user should know.
    pub(super) fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(Problem::new(message));
    }

    /// A problem that several repositories may have in common; it is said once.
    pub(super) fn problem_once(&mut self, message: String) {
        if !self.problems.iter().any(|known| known.message == message) {
            self.problem(message);
        }
    }

    /// The same for a warning.
    pub(super) fn warn_once(&mut self, message: String) {
        if !self.warnings.iter().any(|known| known.message == message) {
            self.warn(message);
        }
    }

    /// A reason why an agent must see the install root; one is said once.
    pub(super) fn needs_install(&mut self, reason: String) {
        if !self.needs_install.contains(&reason) {
            self.needs_install.push(reason);
        }
    }

    /// A value that the definition gives, or the command line.
    pub(super) fn given(&mut self, name: &str, value: &str) {
        let once = self.once.iter().any(|given| given == name);
        self.attribute(name, value, if once { Origin::Once } else { Origin::Given });
    }

    /// A value that a rule supplies.
    pub(super) fn defaulted(&mut self, name: &str, value: &str, rule: &str) {
        self.attribute(name, value, Origin::Default { rule: rule.to_owned() });
    }

    /// A value that the search of XCAT.md 2.5 supplies.
    pub(super) fn searched(&mut self, name: &str, value: &str, rule: &str) {
        self.attribute(name, value, Origin::Searched { rule: rule.to_owned() });
    }

    fn attribute(&mut self, name: &str, value: &str, origin: Origin) {
        self.attributes.push(ResolvedAttribute { name: name.to_owned(), value: value.to_owned(), origin });
    }

    /// Takes the result of a reader of lists over, or its problems.
    pub(super) fn take<T: Default>(&mut self, result: Result<T, Vec<Problem>>) -> T {
        result.unwrap_or_else(|problems| {
            self.problems.extend(problems);
            T::default()
        })
    }
}
