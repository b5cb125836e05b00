//! The resolver: an osimage and the files that it names, to a build plan or every problem at once.
//!
//! The steps only gather; nothing stops at the first problem, so that one correction is enough (DESIGN.md, Submit).
//! The definition's values are checked again here, because the store may hold what an older version let through.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::arch::Arch;
use model::osimage::Osimage;
use model::plan::{
    BuildPlan, Drivers, Interfaces, KernelChoice, PLAN_VERSION, PackageSystem, Repository, Script, Update,
};
use model::problem::Problem;
use model::wish::GenimageWish;

use super::holdings::{Holdings, Outlook};
use super::index::Indexes;
use super::lists::Lists;
use super::notes::Notes;
use super::pack::PackPlan;
use super::release::{Release, System};
use super::repositories::Repositories;
use super::target::Target;
use super::{driver_sources, drivers, kernel, kits, lists, mandatory, otherpkgs, repositories, rootimgdir, scripts};

/// What the resolver must know of the site.
#[derive(Debug, Clone)]
pub struct Site {
    /// The install root, `/install` by custom.
    pub install_dir: PathBuf,
    /// What local repositories hold; without it they are not looked into.
    pub indexes: Option<Indexes>,
}

impl Site {
    /// The same site without a look into its repositories, for what installs nothing.
    #[must_use]
    pub fn unread(&self) -> Self {
        Self { indexes: None, ..self.clone() }
    }
}

/// A definition with everything that it names read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What an agent needs.
    pub plan: BuildPlan,
    /// What packimage needs.
    pub pack: PackPlan,
}

/// Resolves a definition as it stands, reading what it names, or returns everything that is wrong.
pub fn resolve(osimage: &Osimage, site: &Site) -> Result<Resolved, Vec<Problem>> {
    resolve_with(osimage, &GenimageWish::default(), site)
}

/// Resolves a definition with what is asked for one build.
pub fn resolve_with(osimage: &Osimage, wish: &GenimageWish, site: &Site) -> Result<Resolved, Vec<Problem>> {
    let once = wish.changes()?.iter().map(|change| change.name().to_owned()).collect();
    let osimage = &wish.applied(osimage)?;
    let mut notes = Notes { problems: osimage.check(), once, ..Notes::default() };
    let target = Target::read(osimage, site, &mut notes);
    let found = Found::gather(&target, wish.only_initrd, &mut notes);
    // An image that is there already has its packages.
    if !wish.only_initrd {
        found.look_ahead(&target, site.indexes.as_ref(), &mut notes);
    }
    // Whatever could not be told has left a problem.
    match (target.arch, &target.release, &found.rootimgdir) {
        (Some(arch), Some(release), Some(rootimgdir)) if notes.problems.is_empty() => {
            let rootimgdir = rootimgdir.clone();
            let Resolved { plan, pack } = found.resolved(&target, arch, release, rootimgdir, notes);
            let plan = if wish.only_initrd { initrds_only(plan) } else { plan };
            Ok(Resolved { plan: BuildPlan { wish: wish.clone(), ..plan }, pack })
        }
        _ => Err(notes.problems),
    }
}

/// What the steps have found.
struct Found {
    lists: Lists,
    /// No list was passed over with a problem.
    whole_lists: bool,
    rootimgdir: Option<PathBuf>,
    postinstall: Vec<Script>,
    repositories: Repositories,
    other_repositories: Vec<Repository>,
    /// Nor was any repository.
    whole_repositories: bool,
    kernel: KernelChoice,
    drivers: Drivers,
}

impl Found {
    fn gather(target: &Target<'_>, only_initrd: bool, notes: &mut Notes) -> Self {
        // What would be installed in an image that is there already, and run on it, is of no account.
        let mut unused = Notes::default();
        let mut lists = lists::read(target, notes);
        let whole_lists = notes.problems.is_empty();
        let rootimgdir = rootimgdir::place(target, notes);
        let mut of_install = |notes: &mut Notes, step: &mut dyn FnMut(&mut Notes)| {
            step(if only_initrd { &mut unused } else { notes });
        };
        let mut postinstall = Vec::new();
        of_install(notes, &mut |notes| postinstall = scripts::read(target, rootimgdir.as_deref(), notes));
        let before = notes.problems.len();
        let (mut repositories, mut other_repositories) = (Repositories::default(), Vec::new());
        of_install(notes, &mut |notes| {
            repositories = repositories::read(target, notes);
            other_repositories = otherpkgs::repositories(target, &lists.other, notes);
        });
        let kernel = kernel::choose(target, &mut lists.os, &mut repositories.repositories, notes);
        let whole_repositories = notes.problems.len() == before;
        let drivers = drivers::choose(target, notes);
        of_install(notes, &mut |notes| {
            if let Some(place) = &rootimgdir {
                rootimgdir::keep_apart(place, repositories.repositories.iter().chain(&other_repositories), notes);
            }
            kits::check(target, &lists.other, notes);
        });
        remaining(target, notes);
        Self {
            lists,
            whole_lists,
            rootimgdir,
            postinstall,
            repositories,
            other_repositories,
            whole_repositories,
            kernel,
            drivers,
        }
    }

    /// Whether the lists can be installed and come to an image that boots, as far as that can be told now.
    fn look_ahead(&self, target: &Target<'_>, indexes: Option<&Indexes>, notes: &mut Notes) {
        // Of repositories that were passed over, names would be missed.
        let outlook = self.outlook(target, indexes.filter(|_| self.whole_repositories), notes);
        mandatory::check(target, &[&self.lists.os, &self.lists.other], &outlook, notes);
    }

    /// What the repositories hold of what the lists name.
    fn outlook(&self, target: &Target<'_>, indexes: Option<&Indexes>, notes: &mut Notes) -> Outlook {
        let (Some(indexes), Some(release), Some(arch)) = (indexes, &target.release, target.arch) else {
            return Outlook::Unread;
        };
        let holdings = Holdings {
            indexes,
            system: release.system(),
            arch,
            lists: &self.lists,
            repositories: &self.repositories.repositories,
            other_repositories: &self.other_repositories,
            kernel: &self.kernel,
        };
        holdings.check(self.whole_lists, notes)
    }

    fn resolved(
        self,
        target: &Target<'_>,
        arch: Arch,
        release: &Release,
        rootimgdir: PathBuf,
        notes: Notes,
    ) -> Resolved {
        let text = |name| target.value(name).to_owned();
        let plan = BuildPlan {
            version: PLAN_VERSION,
            osimage: target.osimage.name.clone(),
            revision: target.osimage.revision,
            osvers: text("osvers"),
            osarch: text("osarch"),
            arch,
            profile: text("profile"),
            provmethod: text("provmethod"),
            script_environment: script_environment(target, &self.lists, &self.repositories, &rootimgdir),
            rootimgdir,
            install_dir: target.install_dir.to_owned(),
            packages: package_system(release, &self.repositories),
            repositories: self.repositories.repositories,
            other_repositories: self.other_repositories,
            passes: self.lists.os,
            other_passes: self.lists.other,
            update: Update::from_word(target.value("update")),
            scriptlets_may_fail: target.osimage.list("scriptletsmayfail").into_iter().map(str::to_owned).collect(),
            environment: target.environment.clone(),
            kernel: self.kernel,
            drivers: self.drivers,
            wish: GenimageWish::default(),
            postinstall: self.postinstall,
            interfaces: interfaces(target.osimage),
            statelite_mode: statelite_mode(target),
            needs_install: notes.needs_install,
            attributes: notes.attributes,
            warnings: notes.warnings.iter().map(ToString::to_string).collect(),
        };
        Resolved { plan, pack: self.lists.pack }
    }
}

/// What `--onlyinitrd` leaves of a plan: the tree is there, and nothing is installed in it or run on it.
fn initrds_only(plan: BuildPlan) -> BuildPlan {
    BuildPlan {
        repositories: Vec::new(),
        other_repositories: Vec::new(),
        passes: Vec::new(),
        other_passes: Vec::new(),
        update: Update::No,
        postinstall: Vec::new(),
        needs_install: plan.drivers.sources.iter().map(driver_sources::needs_install).collect(),
        ..plan
    }
}

fn package_system(release: &Release, found: &Repositories) -> PackageSystem {
    match release.system() {
        System::Apt => PackageSystem::Apt { suite: found.suite.clone() },
        System::Dnf => {
            let (platform, database, folder) = release.rpm();
            let releasever = release.major().to_owned();
            PackageSystem::Dnf { releasever, platform, database, database_dir: folder.into() }
        }
        System::Zypper => PackageSystem::Zypper,
    }
}

fn interfaces(osimage: &Osimage) -> Interfaces {
    Interfaces {
        boot: osimage.get("nodebootif").map(str::to_owned),
        others: osimage.list("otherifce").into_iter().map(str::to_owned).collect(),
    }
}

/// `permission`, of images whose provmethod is statelite (XCAT.md 1.2); the check of the definition has refused others.
fn statelite_mode(target: &Target<'_>) -> Option<u32> {
    let given = target.osimage.get("permission").unwrap_or("755");
    u32::from_str_radix(given, 8).ok().filter(|_| target.value("provmethod") == "statelite")
}

/// The variables of the postinstall contract that are known before the build (XCAT.md 5.1).
fn script_environment(
    target: &Target<'_>,
    lists: &Lists,
    found: &Repositories,
    rootimgdir: &Path,
) -> BTreeMap<String, String> {
    let rootimg = rootimgdir.join("rootimg").display().to_string();
    let mut variables = vec![
        ("IMG_NAME", target.osimage.name.to_string()),
        ("IMG_ARCH", target.value("osarch").to_owned()),
        ("IMG_OSVER", target.value("osvers").to_owned()),
        ("IMG_PROFILE", target.value("profile").to_owned()),
        ("IMG_PKGLIST", lists.pkglist.clone()),
        ("IMG_PKGDIR", found.pkgdir.clone()),
        ("IMG_OTHERPKGLIST", target.value("otherpkglist").to_owned()),
        ("IMG_OTHERPKGDIR", otherpkgs::directory(target)),
        ("IMG_ROOTIMGDIR", rootimg),
    ];
    if let Some(kernel) = target.osimage.get("kernelver") {
        variables.push(("IMG_KERNELVERSION", kernel.to_owned()));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The rest of the attributes that matter: taken as they are, or, where xCAT acts on them and we don't, said.
fn remaining(target: &Target<'_>, notes: &mut Notes) {
    for name in ["nodebootif", "otherifce", "update", "scriptletsmayfail"] {
        if let Some(value) = target.osimage.get(name) {
            notes.given(name, value);
        }
    }
    for name in ["partitionfile", "cfmdir", "osupdatename"] {
        if !target.value(name).is_empty() {
            notes.warn(format!("{name} is not carried out; the image is built without it"));
        }
    }
}

#[cfg(test)]
mod tests;
