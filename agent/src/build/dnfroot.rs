//! [`DnfRoot`]: dnf (or yum), run on the node and working on the image.
//!
//! Nothing of the node's own configuration takes part but its way to a mirror. Lists, packages and logs of the
//! transaction lie in the attempt's work folder, shown below `/run`, which is no part of the image.

mod sections;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::arch::Arch;
use model::plan::{PackageItem, PackageSystem, Repository, RpmDatabase};

use super::context::Context;
use super::emulated;
use super::failure::StageError;
use super::inside::Inside;
use super::place::Place;
use super::rpmdb;
use crate::pkg::dnf::{self, Kernels, Settings, Verb};
use crate::pkg::ini::{self, Section};
use crate::pkg::scriptlets::{Failed, Listener};
use crate::pkg::{Installed, names, rpm, words, yum};
use crate::sys::exec::{Cmd, CmdError};
use crate::sys::mount::Mounts;
use crate::worker::report::StageLog;

/// Where lists and packages lie while the image is open, seen from inside it.
const CACHE: &str = "/run/imgctl-dnf";

/// Where a node's administrator sets rpm macros; those of the home stand in for it.
const NODE_MACROS: &str = "/etc/rpm";

/// The kernel's package would make an initrd that nobody uses, for minutes, by these.
const INITRD_HOOKS: [&str; 2] = ["50-dracut.install", "51-dracut-rescue.install"];

/// What a hook that is masked points to.
const MASK: &str = "/dev/null";

/// What the plan says of the system, in one piece.
#[derive(Debug, Clone, Copy)]
struct System<'a> {
    releasever: &'a str,
    platform: Option<&'a str>,
    database: RpmDatabase,
    folder: &'a Path,
}

fn system<'a>(context: &Context<'a>) -> Result<System<'a>, StageError> {
    match &context.plan.packages {
        PackageSystem::Dnf { releasever, platform, database, database_dir } => {
            Ok(System { releasever, platform: platform.as_deref(), database: *database, folder: database_dir })
        }
        other => Err(StageError::build(format!("{} is not rpm's", other.name()), "report this as a fault of imgctl")),
    }
}

/// The program that does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Dnf,
    Yum,
}

/// Makes the empty tree.
pub fn make(context: &Context<'_>) -> Result<(), StageError> {
    // The build's own mounts stand on these, so that no package can set their modes.
    for (name, mode) in [("", 0o755), ("proc", 0o555), ("sys", 0o555), ("dev", 0o755), ("run", 0o755)] {
        let path = context.root.join(name);
        DirBuilder::new().mode(mode).create(&path).map_err(StageError::file("make", &path))?;
    }
    Ok(())
}

/// What is installed in the image.
pub fn installed(context: &Context<'_>) -> Result<Vec<Installed>, StageError> {
    let System { database, folder, .. } = system(context)?;
    rpmdb::prepare(context, folder, database)?;
    rpmdb::installed(context)
}

/// Finds the rpm database of a tree that was built before.
pub fn find_database(context: &Context<'_>, log: &StageLog<'_>) -> Result<(), StageError> {
    let System { database, folder, .. } = system(context)?;
    rpmdb::prepare(context, folder, database)?;
    let inside = Inside::open(&context.root, log)?;
    let found = rpmdb::find(context, database);
    inside.close()?;
    found
}

/// The image with dnf at work on it.
#[derive(Debug)]
pub struct DnfRoot<'a> {
    context: &'a Context<'a>,
    log: &'a StageLog<'a>,
    system: System<'a>,
    program: Program,
    /// The image's architecture, where its programs are emulated.
    foreign: Option<Arch>,
    config: PathBuf,
    /// The ids of the repositories with the definition's own words for each.
    sources: BTreeMap<String, String>,
    /// By their names in the image.
    hooks: Vec<String>,
    /// What the user should know though the build goes on.
    warnings: Vec<String>,
    inside: Inside<'a>,
    mounts: Mounts,
    transactions: Cell<u32>,
}

impl<'a> DnfRoot<'a> {
    /// Makes the image ready and reads every repository.
    pub fn open<'r>(
        context: &'a Context<'a>,
        log: &'a StageLog<'a>,
        repositories: impl Iterator<Item = &'r Repository>,
    ) -> Result<Self, StageError> {
        let system = system(context)?;
        rpmdb::prepare(context, system.folder, system.database)?;
        let program = if context.order.facts.has("dnf") { Program::Dnf } else { Program::Yum };
        let foreign = emulated::is_emulated(context.order, context.plan).then_some(context.plan.arch);
        if let (Program::Yum, Some(arch)) = (program, foreign) {
            let cause = format!("yum can't install packages of {arch} on this node's processor");
            return Err(StageError::node(cause, "install dnf on the node"));
        }
        let sections = sections::of(context, repositories)?;
        sections.iter().for_each(|section| log.say(section.said()));
        sections::one_keyring(&sections).into_iter().for_each(|text| log.say(text));
        let config = write_config(context, system, program, &sections)?;
        let sources = sections.iter().map(|section| (section.id.clone(), section.repository.source.clone())).collect();
        let inside = Inside::open(&context.root, log)?;
        let mut mounts = Mounts::default();
        show_cache(context, &mut mounts)?;
        hide_macros(context, &mut mounts)?;
        let hooks = hide_hooks(Place::new(&context.root))?;
        let transactions = Cell::new(0);
        let warnings = Vec::new();
        let mut root = Self {
            context,
            log,
            system,
            program,
            foreign,
            config,
            sources,
            hooks,
            warnings,
            inside,
            mounts,
            transactions,
        };
        root.refresh(sections)?;
        Ok(root)
    }

    /// Reads the lists of every repository. A server that lacks a sub-directory of otherpkgdir is passed over where
    /// another otherpkgdir has it; that is for the server to say, not for a connection that broke.
    fn refresh(&mut self, mut sections: Vec<Section<'_>>) -> Result<(), StageError> {
        while let Err(error) = self.log.run(&self.command(Verb::Refresh, &BTreeMap::new())) {
            let id = words::dnf::absent(error.lines());
            let at = sections.iter().position(|section| Some(section.id.as_str()) == id);
            let Some(at) = at.filter(|at| sections::is_elsewhere(&sections, *at)) else {
                return Err(self.explained(error, &[]));
            };
            let Section { id, repository, .. } = sections.remove(at);
            let text = format!("repository {id} is passed over: there is no {}", repository.url);
            self.log.say(format!("warning: {text}"));
            self.warnings.push(text);
            write_config(self.context, self.system, self.program, &sections)?;
        }
        Ok(())
    }

    /// Installs these in one transaction.
    pub fn install(&self, items: &[PackageItem], environment: &BTreeMap<String, String>) -> Result<(), StageError> {
        self.carry_out(Verb::Install(&names(items, rpm::is_name)?), environment, items)
    }

    /// Removes those of these that are there.
    pub fn remove(&self, items: &[PackageItem], environment: &BTreeMap<String, String>) -> Result<(), StageError> {
        self.carry_out(Verb::Remove(&names(items, rpm::is_name)?), environment, items)
    }

    /// The releases of the kernels that the repositories have. yum's answers are not made to be read.
    pub fn kernels(&self) -> Result<Option<Vec<String>>, StageError> {
        if self.program == Program::Yum {
            return Ok(None);
        }
        let found = self.command(Verb::Kernels, &BTreeMap::new()).capture()?;
        Ok(Some(dnf::releases(&String::from_utf8_lossy(&found))))
    }

    /// Brings everything up to date.
    pub fn update(&self, kernels: Kernels, environment: &BTreeMap<String, String>) -> Result<(), StageError> {
        self.carry_out(Verb::Update(kernels), environment, &[])
    }

    fn carry_out(
        &self,
        verb: Verb<'_>,
        environment: &BTreeMap<String, String>,
        items: &[PackageItem],
    ) -> Result<(), StageError> {
        let mut listener = Listener::default();
        let outcome = self.log.run_heard(&self.command(verb, environment), &mut |line| listener.hear(line));
        self.judge_scriptlets(listener.failed)?;
        outcome.map_err(|error| self.explained(error, items))?;
        self.transactions.set(self.transactions.get() + 1);
        Ok(())
    }

    fn command(&self, verb: Verb<'_>, environment: &BTreeMap<String, String>) -> Cmd {
        let System { releasever, .. } = self.system;
        let (root, config) = (&self.context.root, &self.config);
        let (program, args) = match self.program {
            Program::Dnf => ("dnf", dnf::args(verb, config, root, releasever, self.foreign)),
            Program::Yum => ("yum", yum::args(verb, config, root, releasever)),
        };
        let cmd = Cmd::new(program).args(args).envs(&self.context.package_environment(environment));
        cmd.env("HOME", rpmdb::home(self.context))
    }

    fn explained(&self, error: CmdError, items: &[PackageItem]) -> StageError {
        match words::dnf::explain(error.lines(), items, &self.sources) {
            Some(found) => found.into(),
            None => StageError::from(error),
        }
    }

    /// A scriptlet that fails leaves a package half installed, and the program says that all is well.
    fn judge_scriptlets(&self, failed: Vec<Failed>) -> Result<(), StageError> {
        let may_fail = |one: &Failed| !one.is_fatal() && self.context.plan.scriptlets_may_fail.contains(&one.package);
        let (allowed, not): (Vec<_>, Vec<_>) = failed.into_iter().partition(may_fail);
        for one in allowed {
            self.log.say(format!("warning: {}; scriptletsmayfail allows it", one.sentence()));
        }
        let Some(first) = not.first() else { return Ok(()) };
        let sentences: Vec<String> = not.iter().map(Failed::sentence).collect();
        let hint = if first.is_fatal() {
            "without that scriptlet the package can't be installed or removed; look at its lines in the log".to_owned()
        } else {
            let names: BTreeSet<&str> = not.iter().map(|one| one.package.as_str()).collect();
            let names: Vec<&str> = names.into_iter().collect();
            format!("if the image does without it, set scriptletsmayfail={}", names.join(","))
        };
        Err(StageError::build(sentences.join("; "), hint))
    }

    /// What the user should know though the build goes on.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Has the image's own rpm list what was installed, and puts the image back as it was.
    pub fn close(self) -> Result<(), StageError> {
        let Self { context, log, system, hooks, inside, mut mounts, transactions, .. } = self;
        let settled = match transactions.get() {
            0 => Ok(()),
            _ => rpmdb::settle(context, log, system.folder, system.database),
        };
        hooks.iter().try_for_each(|hook| show_hook(Place::new(&context.root), hook))?;
        mounts.release()?;
        inside.close()?;
        settled
    }
}

fn write_config(
    context: &Context<'_>,
    system: System<'_>,
    program: Program,
    sections: &[Section<'_>],
) -> Result<PathBuf, StageError> {
    let own = match program {
        Program::Dnf => "/etc/dnf/dnf.conf",
        Program::Yum => "/etc/yum.conf",
    };
    let carried = ini::carried(&fs::read_to_string(own).unwrap_or_default());
    let settings = Settings {
        nowhere: &context.work.join("nowhere"),
        cache: Path::new(CACHE),
        platform: system.platform,
        carried: &carried,
        sections,
    };
    let text = match program {
        Program::Dnf => dnf::config(&settings),
        Program::Yum => yum::config(&settings),
    };
    let path = context.work.join("dnf.conf");
    let written = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
    // A password for the proxy may be in it.
    written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(StageError::file("write", &path))?;
    Ok(path)
}

fn show_cache(context: &Context<'_>, mounts: &mut Mounts) -> Result<(), StageError> {
    let cache = context.work.join("dnf");
    for folder in [&cache.join("cache"), &cache.join("log")] {
        fs::create_dir_all(folder).map_err(StageError::file("make", folder))?;
    }
    let shown = Place::new(&context.root).folder(CACHE)?;
    mounts.bind_one(&cache, &shown)?;
    Ok(())
}

/// The node's own rpm macros may leave out languages or documents; they are out of sight while dnf is at work.
fn hide_macros(context: &Context<'_>, mounts: &mut Mounts) -> Result<(), StageError> {
    if !Path::new(NODE_MACROS).is_dir() {
        return Ok(());
    }
    let empty = context.work.join("empty");
    fs::create_dir_all(&empty).map_err(StageError::file("make", &empty))?;
    mounts.bind_one(&empty, Path::new(NODE_MACROS))?;
    Ok(())
}

/// Masks the hooks by which a kernel's package has an initrd made, unless the image has its own say in it.
fn hide_hooks(place: Place<'_>) -> Result<Vec<String>, StageError> {
    let mut hidden = Vec::new();
    for name in INITRD_HOOKS {
        let name = format!("etc/kernel/install.d/{name}");
        if !place.has(&name) {
            place.link(MASK, &name)?;
            hidden.push(name);
        }
    }
    Ok(hidden)
}

/// What a package has put in its place since stays.
fn show_hook(place: Place<'_>, name: &str) -> Result<(), StageError> {
    let ours = place.at(name).and_then(|hook| fs::read_link(hook).ok()).is_some_and(|target| target == Path::new(MASK));
    if ours { place.remove(name) } else { Ok(()) }
}
