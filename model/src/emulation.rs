//! Building for an architecture that a node's processor hasn't: whether an agent may and can, and what is said of it.
//!
//! The words are here, as coordinator and agent say the same of one build: in the answer to its submission, in its log
//! and in its record.

use serde::{Deserialize, Serialize};

use crate::agent::AgentFacts;
use crate::arch::Arch;

/// How much longer programs take under qemu-user than on a processor of their own: a base system by mmdebstrap, with all
/// that is fetched and decompressed by the node itself, four times; packages that are on the node nine; dracut fifteen
/// (docs/PERFORMANCE.md).
pub const SLOWER: &str = "4 to 15 times";

/// An architecture that an agent may build for under emulation, as its administrator allows it by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulation {
    /// Of the images.
    pub arch: Arch,
    /// Why it can't be done here; none: a program of the architecture was run, and works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<EmulationFault>,
}

/// Why programs of another architecture don't run on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmulationFault {
    /// For programs: `emulation-no-f-flag`.
    pub name: String,
    /// For people, in one sentence.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

/// How an agent would build for an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means<'a> {
    /// On a processor of the architecture.
    Native,
    /// By emulation on this one.
    Emulated(&'a str),
    /// By emulation, if it worked.
    Faulty(&'a EmulationFault),
    /// It runs under emulation on this processor itself, and is not allowed to build so.
    NotAllowed(&'a str),
    /// Not at all.
    Foreign,
}

impl AgentFacts {
    /// How an agent of these facts would build for `arch`.
    pub fn means(&self, arch: Arch) -> Means<'_> {
        let allowed = self.emulations.iter().find(|one| one.arch == arch);
        match (allowed, self.emulated_on.as_deref()) {
            (_, None) if self.arch == arch => Means::Native,
            (Some(Emulation { fault: Some(fault), .. }), _) => Means::Faulty(fault),
            (Some(_), on) => Means::Emulated(on.unwrap_or(self.arch.as_str())),
            (None, Some(on)) if self.arch == arch => Means::NotAllowed(on),
            (None, _) => Means::Foreign,
        }
    }
}

/// What is said of an image of `arch` whose programs ran on a processor of another architecture.
pub fn told(arch: &str, on: &str) -> String {
    format!("built under emulation: programs of {arch} ran on {on} through qemu-user, which takes {SLOWER} as long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::InstallView;

    fn facts(arch: Arch, emulated_on: Option<&str>, emulations: &[Arch]) -> AgentFacts {
        AgentFacts {
            arch,
            os: "debian12".into(),
            kernel: "6.1".into(),
            package_systems: Vec::new(),
            tools: Vec::new(),
            scratch_free_bytes: 0,
            scratch_total_bytes: 0,
            memory_bytes: 0,
            cpus: 1,
            install: InstallView::None,
            slots: 1,
            version: "1".into(),
            conditions: Vec::new(),
            emulations: emulations.iter().map(|arch| Emulation { arch: *arch, fault: None }).collect(),
            emulated_on: emulated_on.map(str::to_owned),
        }
    }

    #[test]
    fn an_agent_emulates_what_it_is_allowed_to_by_name() {
        let wanted = Arch::Ppc64le;
        assert_eq!(facts(Arch::Ppc64le, None, &[]).means(wanted), Means::Native);
        assert_eq!(facts(Arch::Ppc64le, None, &[Arch::Ppc64le]).means(wanted), Means::Native);
        assert_eq!(facts(Arch::X86_64, None, &[]).means(wanted), Means::Foreign);
        assert_eq!(facts(Arch::X86_64, None, &[Arch::Aarch64]).means(wanted), Means::Foreign);
        assert_eq!(facts(Arch::X86_64, None, &[Arch::Ppc64le]).means(wanted), Means::Emulated("x86_64"));
        let fault =
            EmulationFault { name: "emulation-no-f-flag".into(), cause: "no F".into(), remedy: "register".into() };
        let mut faulty = facts(Arch::X86_64, None, &[Arch::Ppc64le]);
        faulty.emulations[0].fault = Some(fault.clone());
        assert_eq!(faulty.means(wanted), Means::Faulty(&fault));
    }

    #[test]
    fn an_agent_under_emulation_is_no_native_one() {
        let wanted = Arch::Ppc64le;
        assert_eq!(facts(wanted, Some("x86_64"), &[]).means(wanted), Means::NotAllowed("x86_64"));
        assert_eq!(facts(wanted, Some("x86_64"), &[wanted]).means(wanted), Means::Emulated("x86_64"));
        assert_eq!(facts(wanted, Some("x86_64"), &[wanted]).means(Arch::X86_64), Means::Foreign);
    }
}
