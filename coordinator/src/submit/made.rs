//! One osimage as a submission builds it: the definition, what is asked for this once, and the plan of both.

use model::build::{Needs, Part};
use model::osimage::Osimage;
use model::problem::Problem;
use model::wish::GenimageWish;

use super::Submission;
use crate::clock::now_ms;
use crate::osimage::{Resolved, Site, resolve_with};
use crate::scheduler::NewBuild;
use crate::store::osimages::OsimageWrite;

/// Resolved, and not yet queued.
#[derive(Debug)]
pub(super) struct Made {
    /// The definition as it is when the build is queued.
    pub(super) osimage: Osimage,
    /// What is asked beyond it.
    pub(super) wish: GenimageWish,
    pub(super) found: Resolved,
    /// How the definition changes when the build is queued (`--save`).
    pub(super) write: Option<OsimageWrite>,
}

impl Made {
    /// Resolves an osimage, or returns everything that is wrong.
    pub(super) fn new(osimage: &Osimage, submission: &Submission, site: &Site) -> Result<Self, Vec<Problem>> {
        let wish = &submission.genimage;
        if !submission.save {
            let found = resolve_with(osimage, wish, site)?;
            return Ok(Self { osimage: osimage.clone(), wish: wish.clone(), found, write: None });
        }
        let mut after = wish.applied(osimage)?;
        // What is saved is the definition's own from now on.
        let wish = GenimageWish { set: Vec::new(), ..wish.clone() };
        let write = (after.attributes != osimage.attributes).then(|| {
            after.revision += 1;
            after.modified_ms = now_ms();
            OsimageWrite { before: Some(osimage.clone()), after: Some(after.clone()) }
        });
        let found = resolve_with(&after, &wish, site)?;
        Ok(Self { osimage: after, wish, found, write })
    }

    /// The build that is asked for, by the plan of this digest.
    pub(super) fn build(&self, submission: &Submission, plan: Option<String>) -> NewBuild {
        let made_from = &self.found.plan;
        let needs = Needs {
            package_system: made_from.packages.name().to_owned(),
            rpm_database: made_from.packages.database(),
            osvers: made_from.osvers.clone(),
            install: made_from.needs_install.clone(),
            agent: submission.agent.clone(),
        };
        NewBuild {
            osimage: self.osimage.name.clone(),
            revision: self.osimage.revision,
            arch: made_from.arch,
            needs,
            rootimgdir: made_from.rootimgdir.clone(),
            part: submission.part,
            pack: submission.pack.clone(),
            genimage: if submission.part == Part::Packimage { GenimageWish::default() } else { self.wish.clone() },
            submitted_by: submission.by.clone(),
            plan,
            warnings: made_from.warnings.clone(),
            priority: submission.priority,
        }
    }

    /// What the resolver wants to be known, with the osimage's name.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.found.plan.warnings.iter().map(|warning| format!("{}: {warning}", self.osimage.name))
    }
}
