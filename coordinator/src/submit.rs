//! From what a user asks for to builds that can be queued.
//!
//! Every named osimage is resolved on the spot, on the MN, so that all that is wrong is said at once and before
//! anything is dispatched. A rebuild that would lose local edits is refused until the user says so.

mod made;
mod select;
mod since;

use std::path::Path;
use std::sync::Arc;

use model::arch::Arch;
use model::build::{Build, PackWish, Part};
use model::emulation::Means;
use model::generation::GenerationState;
use model::id::Generation;
use model::name::{AgentName, ImageName, UserName};
use model::osimage::Osimage;
use model::problem::Problem;
use model::wish::GenimageWish;

use self::made::Made;
use self::select::{NotChosen, Wanted, arch_of};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::generation::{EditsError, RootimgDir, local_edits};
use crate::osimage::Resolved;
use crate::packimage::Format;
use crate::plans::Plans;
use crate::scheduler::{Judgement, NewBuild, Refused, Scheduler, Verdicts};
use crate::store::osimages::OsimageWrite;
use crate::store::{Store, StoreError};

/// Edits that are listed of one tree at most; of a changed owner of everything there would be a million.
const EDITS: usize = 200;

/// What a user asks for.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Exact names, or profiles.
    pub names: Vec<String>,
    /// Only these architectures; empty: any.
    pub arches: Vec<Arch>,
    /// Only this agent.
    pub agent: Option<AgentName>,
    /// Which halves.
    pub part: Part,
    /// How to pack.
    pub pack: PackWish,
    /// What is asked of genimage for this once.
    pub genimage: GenimageWish,
    /// Write the changes of attributes into the definitions too.
    pub save: bool,
    /// Queue nothing.
    pub dry_run: bool,
    /// Lose local edits.
    pub discard_edits: bool,
    /// Take every osvers of a profile.
    pub all: bool,
    /// Higher goes first.
    pub priority: i32,
    /// The caller's id for this request.
    pub request: String,
    /// Who asks.
    pub by: UserName,
}

/// Local edits that a rebuild would lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditedTree {
    /// Of which osimage.
    pub osimage: ImageName,
    /// In which generation.
    pub generation: u32,
    /// It was packed since: what nodes boot has the edits that were there then.
    pub packed: bool,
    /// Path and change of each.
    pub edits: Vec<(String, String)>,
}

/// A build that would have been queued.
#[derive(Debug, Clone)]
pub struct DryRun {
    /// Of what.
    pub osimage: ImageName,
    /// What would be built and packed.
    pub found: Resolved,
    /// What each agent lacks to run it now.
    pub agents: Verdicts,
}

/// What became of a submission.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// The builds are queued.
    Queued {
        /// They.
        builds: Vec<Build>,
        /// What the resolver wants to be known.
        warnings: Vec<String>,
        /// What is no warning: how lists have changed since the last build.
        notes: Vec<String>,
    },
    /// Nothing was queued, as was asked.
    DryRun {
        /// What would have been.
        runs: Vec<DryRun>,
        /// What the resolver wants to be known.
        warnings: Vec<String>,
        /// As of those that are queued.
        notes: Vec<String>,
    },
    /// Nothing was queued: problems.
    Problems(Vec<Problem>),
    /// Nothing was queued: local edits would be lost.
    Edited(Vec<EditedTree>),
}

/// Why a submission can't be answered.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A name that is no osimage's and no profile's, or the catalogue can't be read.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The scheduler refuses.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan can't be kept.
    #[error("cannot keep the build plan")]
    Plan(#[source] std::io::Error),
    /// Nothing fits.
    #[error("{0}")]
    Nothing(String),
}

/// What submissions need.
#[derive(Debug, Clone)]
pub struct Submitter {
    /// Definitions.
    pub catalogue: Catalogue,
    /// Agents that have joined.
    pub store: Store,
    /// Where plans are kept.
    pub plans: Plans,
    /// Where builds are queued.
    pub scheduler: Scheduler,
}

impl Submitter {
    /// Resolves and queues, or says why not.
    pub async fn submit(self: Arc<Self>, submission: Submission) -> Result<Submitted, SubmitError> {
        // Before plans are written: one clear answer, and nothing left behind.
        self.store.room_for_more().await?;
        let this = self.clone();
        let wanted = submission.clone();
        // Resolving reads many files, and looking for edits stats a whole tree.
        let prepared = tokio::task::spawn_blocking(move || this.prepare(&wanted)).await;
        let prepared = prepared.map_err(|_| Refused::Stopping)??;
        match prepared {
            Prepared::Ready { builds, definitions, mut warnings, notes } => {
                if self.somebody_emulates()? {
                    for build in &builds {
                        warnings.extend(self.scheduler.judge(build.clone()).await?.warning);
                    }
                }
                let builds = self.scheduler.submit(builds, definitions, submission.request).await?;
                Ok(Submitted::Queued { builds, warnings, notes })
            }
            Prepared::Dry { made, mut warnings, notes } => {
                let mut runs = Vec::with_capacity(made.len());
                for one in made {
                    let Judgement { agents, warning } = self.scheduler.judge(one.build(&submission, None)).await?;
                    warnings.extend(warning);
                    runs.push(DryRun { osimage: one.osimage.name, found: one.found, agents });
                }
                Ok(Submitted::DryRun { runs, warnings, notes })
            }
            Prepared::Problems(problems) => Ok(Submitted::Problems(problems)),
            Prepared::Edited(edited) => Ok(Submitted::Edited(edited)),
        }
    }

    fn prepare(&self, submission: &Submission) -> Result<Prepared, SubmitError> {
        let (mut made, mut problems) = (Vec::new(), Vec::new());
        // Packing installs nothing, and the repositories may have changed since genimage.
        let site = self.catalogue.site();
        let site = if submission.part == Part::Packimage { site.unread() } else { site.clone() };
        for osimage in &self.select(submission)? {
            problems.extend(self.no_agent(osimage, submission)?);
            match Made::new(osimage, submission, &site) {
                Ok(one) => made.push(one),
                Err(found) => problems.extend(found.into_iter().map(|problem| of(&osimage.name, problem))),
            }
        }
        problems.extend(check_pack(&submission.pack));
        if submission.part == Part::Packimage || submission.genimage.only_initrd {
            problems.extend(made.iter().filter_map(|one| unbuilt(&self.store, one)));
        }
        if !problems.is_empty() {
            return Ok(Prepared::Problems(problems));
        }
        let edited = self.edited(submission, &made)?;
        let mut warnings: Vec<String> = made.iter().flat_map(Made::warnings).collect();
        let notes = self.since(submission, &made);
        if submission.dry_run {
            warnings.extend(edited.iter().map(EditedTree::warning));
            return Ok(Prepared::Dry { made, warnings, notes });
        }
        if !edited.is_empty() {
            return Ok(Prepared::Edited(edited));
        }
        let builds = made.iter().map(|one| Ok(one.build(submission, self.kept_plan(submission, one)?)));
        let builds = builds.collect::<Result<_, SubmitError>>()?;
        let definitions = made.into_iter().filter_map(|one| one.write).collect();
        Ok(Prepared::Ready { builds, definitions, warnings, notes })
    }

    /// How the lists have changed; of no interest where no packages are installed.
    fn since(&self, submission: &Submission, made: &[Made]) -> Vec<String> {
        if submission.part == Part::Packimage || submission.genimage.only_initrd {
            return Vec::new();
        }
        made.iter().filter_map(|one| since::since(&self.store, &self.plans, one)).collect()
    }

    fn kept_plan(&self, submission: &Submission, made: &Made) -> Result<Option<String>, SubmitError> {
        match submission.part {
            Part::Packimage => Ok(None),
            Part::Both | Part::Genimage => self.plans.keep(&made.found.plan).map(Some).map_err(SubmitError::Plan),
        }
    }

    fn select(&self, submission: &Submission) -> Result<Vec<Osimage>, SubmitError> {
        let Submission { names, arches, all, .. } = submission;
        let osimages = self.catalogue.list()?;
        match (Wanted { names, arches, all_releases: *all }).choose(&osimages) {
            Ok(chosen) => Ok(chosen.into_iter().cloned().collect()),
            Err(NotChosen::Unfit(text)) => Err(SubmitError::Nothing(text)),
            // The catalogue's own answer names the nearest osimage.
            Err(NotChosen::Unknown(name)) => {
                let name: ImageName = name.parse().map_err(|error| SubmitError::Nothing(format!("{error}")))?;
                Ok(vec![self.catalogue.get(&name)?])
            }
        }
    }

    /// A build that waits for an agent that doesn't exist would wait for ever.
    fn no_agent(&self, osimage: &Osimage, submission: &Submission) -> Result<Option<Problem>, SubmitError> {
        if submission.part == Part::Packimage {
            return Ok(None);
        }
        let agents = self.store.agents()?;
        if let Some(wanted) = &submission.agent {
            let known = agents.iter().any(|agent| agent.name == *wanted);
            let text = format!("there is no agent `{wanted}`; `imgctl agents list` shows them");
            return Ok((!known).then(|| Problem::new(text)));
        }
        let Some(arch) = arch_of(osimage) else { return Ok(None) };
        let fits =
            agents.iter().any(|agent| agent.facts.as_ref().is_none_or(|facts| facts.means(arch) != Means::Foreign));
        let text = format!(
            "{}: no agent of architecture {arch} has joined; `imgctl agents token` prints how one joins, and \
             `allow_emulation` in agent.toml lets one of another architecture build it slowly",
            osimage.name
        );
        Ok((!fits).then(|| Problem::new(text)))
    }

    fn somebody_emulates(&self) -> Result<bool, StoreError> {
        let agents = self.store.agents()?;
        Ok(agents.iter().any(|agent| agent.facts.as_ref().is_some_and(|facts| !facts.emulations.is_empty())))
    }

    fn edited(&self, submission: &Submission, made: &[Made]) -> Result<Vec<EditedTree>, SubmitError> {
        let keeps_tree = submission.part == Part::Packimage || submission.genimage.only_initrd;
        if submission.discard_edits || keeps_tree {
            return Ok(Vec::new());
        }
        let mut edited = Vec::new();
        for Made { osimage, found, .. } in made {
            let generations = self.store.generations(&found.plan.rootimgdir)?;
            let Some(record) = generations.last() else { continue };
            let (newest, packed) = (record.number, record.state == GenerationState::Packed);
            let install_dir = &self.catalogue.site().install_dir;
            let edits = edits_of(&found.plan.rootimgdir, install_dir, newest);
            let edits = edits.unwrap_or_else(|error| vec![("/".to_owned(), format!("can't be compared: {error}"))]);
            if !edits.is_empty() {
                edited.push(EditedTree { osimage: osimage.name.clone(), generation: newest.get(), packed, edits });
            }
        }
        Ok(edited)
    }
}

impl EditedTree {
    fn warning(&self) -> String {
        let Self { osimage, generation, edits, .. } = self;
        let count = edits.len();
        format!(
            "{osimage}: the tree of generation {generation} was edited by hand ({count} edits); a build would ask for --discard-edits"
        )
    }
}

enum Prepared {
    Ready { builds: Vec<NewBuild>, definitions: Vec<OsimageWrite>, warnings: Vec<String>, notes: Vec<String> },
    Dry { made: Vec<Made>, warnings: Vec<String>, notes: Vec<String> },
    Problems(Vec<Problem>),
    Edited(Vec<EditedTree>),
}

fn of(name: &ImageName, problem: Problem) -> Problem {
    let message = if problem.at.is_some() { problem.message } else { format!("{name}: {}", problem.message) };
    Problem { message, ..problem }
}

fn check_pack(wish: &PackWish) -> Vec<Problem> {
    let problem = Format::parse(&wish.method, &wish.compress).err();
    problem.into_iter().map(|error| Problem::new(error.to_string())).collect()
}

/// The local edits of a generation's tree, no more than can be read: path and change of each. Blocking: it stats the whole tree.
pub fn edits_of(
    rootimgdir: &Path,
    install_dir: &Path,
    number: Generation,
) -> Result<Vec<(String, String)>, EditsError> {
    let dir = RootimgDir::open(rootimgdir, install_dir)?;
    let edits = local_edits(&dir, number.into())?.unwrap_or_default();
    Ok(listed(edits.into_iter().map(|edit| (edit.path.to_string(), edit.change()))))
}

/// The first edits, and a last entry that counts the rest.
fn listed(mut edits: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut listed: Vec<_> = edits.by_ref().take(EDITS).collect();
    let rest = edits.count();
    if rest > 0 {
        listed.push(("…".to_owned(), format!("and {rest} more")));
    }
    listed
}

fn unbuilt(store: &Store, made: &Made) -> Option<Problem> {
    let dir = &made.found.plan.rootimgdir;
    let none_built = store.generations(dir).ok()?.is_empty();
    let (name, tree) = (&made.osimage.name, dir.join("rootimg"));
    let what = if tree.exists() { "was not built by imgctl" } else { "does not exist" };
    let text = format!("{} {what}, run genimage first: `imgctl genimage {name}`", tree.display());
    none_built.then(|| Problem::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_with_many_edits_lists_some_and_counts_the_rest() {
        let edits = |count: usize| listed((0..count).map(|number| (format!("/{number}"), "new".to_owned())));
        assert_eq!(edits(0), []);
        assert_eq!((edits(EDITS).len(), edits(EDITS)[EDITS - 1].0.as_str()), (200, "/199"));
        let many = edits(EDITS + 5);
        assert_eq!((many.len(), &many[EDITS]), (201, &("…".to_owned(), "and 5 more".to_owned())));
    }
}
