//! [`Root`]: the image with its package manager at work on it, whichever that is. The stages install, remove and update
//! through it and know nothing of apt or rpm.

use std::collections::BTreeMap;

use model::plan::{KernelChoice, PackageSystem, Pass, Repository};

use super::aptroot::{self, AptRoot, Feed};
use super::context::Context;
use super::dnfroot::{self, DnfRoot};
use super::failure::StageError;
use crate::pkg::Installed;
use crate::pkg::dnf::Kernels;
use crate::worker::report::StageLog;

/// An image that packages can be installed in.
#[derive(Debug)]
pub struct Root<'a> {
    context: &'a Context<'a>,
    log: &'a StageLog<'a>,
    family: Family<'a>,
}

#[derive(Debug)]
enum Family<'a> {
    Apt(AptRoot<'a>),
    Dnf(Box<DnfRoot<'a>>),
}

impl<'a> Root<'a> {
    /// Makes the image ready and reads the repositories.
    pub fn open<'r>(
        context: &'a Context<'a>,
        log: &'a StageLog<'a>,
        repositories: impl Iterator<Item = &'r Repository>,
    ) -> Result<Self, StageError> {
        let family = match &context.plan.packages {
            PackageSystem::Apt { .. } => Family::Apt(AptRoot::open(context, log, &Feed::new(context, repositories)?)?),
            PackageSystem::Dnf { .. } => Family::Dnf(Box::new(DnfRoot::open(context, log, repositories)?)),
            PackageSystem::Zypper => return Err(Self::unknown(context)),
        };
        Ok(Self { context, log, family })
    }

    /// The releases of the kernels that the repositories have, where the package manager can be asked for them.
    pub fn kernels(&self) -> Result<Option<Vec<String>>, StageError> {
        match &self.family {
            // Its base system is there already; what there is was asked before that (`kernel/available.rs`).
            Family::Apt(_) => Ok(None),
            Family::Dnf(dnf) => dnf.kernels(),
        }
    }

    /// One pass: remove, install, remove.
    pub fn pass(&self, pass: &Pass) -> Result<(), StageError> {
        if !pass.remove_before.is_empty() {
            match &self.family {
                Family::Apt(apt) => apt.remove(&pass.remove_before, &pass.environment)?,
                Family::Dnf(dnf) => dnf.remove(&pass.remove_before, &pass.environment)?,
            }
        }
        match &self.family {
            _ if pass.install.is_empty() => self.log.say("no packages marked for install in this pass"),
            Family::Apt(apt) => apt.install(&pass.install, &pass.environment)?,
            Family::Dnf(dnf) => dnf.install(&pass.install, &pass.environment)?,
        }
        match &self.family {
            _ if pass.remove_after.is_empty() => Ok(()),
            Family::Apt(apt) => apt.remove(&pass.remove_after, &pass.environment),
            Family::Dnf(dnf) => dnf.remove(&pass.remove_after, &pass.environment),
        }
    }

    /// Brings everything up to what the repositories have; a kernel that was asked for by its version stays.
    pub fn update(&self, environment: &BTreeMap<String, String>) -> Result<(), StageError> {
        let kernels = match self.context.plan.kernel {
            KernelChoice::Only => Kernels::Too,
            KernelChoice::Exactly { .. } => Kernels::Kept,
        };
        match &self.family {
            Family::Apt(apt) => apt.update(kernels, environment),
            Family::Dnf(dnf) => dnf.update(kernels, environment),
        }
    }

    /// What the user should know though the build goes on.
    pub fn warnings(&self) -> &[String] {
        match &self.family {
            Family::Apt(_) => &[],
            Family::Dnf(dnf) => dnf.warnings(),
        }
    }

    /// Puts the image back as it was, and looks whether its own package manager finds what was installed.
    pub fn close(self) -> Result<(), StageError> {
        match self.family {
            Family::Apt(apt) => apt.close(),
            Family::Dnf(dnf) => dnf.close(),
        }
    }

    /// For a package system that no stage can carry out.
    pub fn unknown(context: &Context<'_>) -> StageError {
        let cause = format!("this agent can't build with {}", context.plan.packages.name());
        StageError::node(cause, "apt and dnf are supported so far")
    }
}

/// What is installed in the image.
pub fn installed(context: &Context<'_>) -> Result<Vec<Installed>, StageError> {
    match &context.plan.packages {
        PackageSystem::Apt { .. } => aptroot::installed(context),
        PackageSystem::Dnf { .. } => dnfroot::installed(context),
        PackageSystem::Zypper => Err(Root::unknown(context)),
    }
}
