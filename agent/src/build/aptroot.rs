//! [`AptRoot`]: apt, run on the node and working on the image, for everything after the bootstrap.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use model::plan::{PackageItem, Repository, RepositoryTrust};

use super::context::Context;
use super::failure::StageError;
use super::inside::Inside;
use super::place::Place;
use crate::pkg::apt::{self, Source};
use crate::pkg::dnf::Kernels;
use crate::pkg::{Installed, dpkg, names, words};
use crate::sys::exec::{Cmd, CmdError};
use crate::worker::report::StageLog;

/// The sources of a build with their keys written down, and the node's options for reaching them.
#[derive(Debug)]
pub struct Feed<'a> {
    /// In order.
    pub sources: Vec<Source<'a>>,
    /// From the node's apt.
    pub options: Vec<String>,
}

impl<'a> Feed<'a> {
    /// Writes the keys that the plan carries and finds those of the distribution.
    pub fn new(context: &Context<'_>, repositories: impl Iterator<Item = &'a Repository>) -> Result<Self, StageError> {
        let sources = repositories.enumerate().map(|(index, repository)| {
            let keyring = keyring(context, index, repository)?;
            Ok(Source { repository, keyring })
        });
        let sources = sources.collect::<Result<Vec<_>, StageError>>()?;
        let dump = Cmd::new("apt-config").arg("dump").capture()?;
        Ok(Self { sources, options: apt::carried_options(&String::from_utf8_lossy(&dump)) })
    }

    /// The text of the build's own `sources.list`.
    pub fn list(&self) -> String {
        self.sources.iter().map(|source| source.line() + "\n").collect()
    }
}

fn keyring(context: &Context<'_>, index: usize, repository: &Repository) -> Result<Option<PathBuf>, StageError> {
    match &repository.trust {
        RepositoryTrust::Unsigned => Ok(None),
        RepositoryTrust::Distribution => {
            let known = apt::distribution_keyrings(&context.plan.osvers);
            let found = known.iter().map(|(path, _)| PathBuf::from(path)).find(|path| path.exists());
            found.map(Some).ok_or_else(|| {
                let packages: Vec<_> = known.iter().map(|(_, package)| *package).collect();
                StageError::node(
                    format!("this node has no key to check {} with", repository.source),
                    format!(
                        "install {} on the node, or give the repository a key file of its own",
                        packages.join(" or ")
                    ),
                )
            })
        }
        // Only rpm's media come with their keys.
        RepositoryTrust::Medium { .. } => Err(StageError::build(
            format!("the plan has keys of a medium for {}, which is apt's", repository.source),
            "report this as a fault of imgctl",
        )),
        RepositoryTrust::Key { path, content } => {
            let damaged = || StageError::build(format!("the key `{}` is damaged in the plan", path.display()), "");
            let bytes = content.to_bytes().ok_or_else(damaged)?;
            // apt goes by the name's end, and a name may come twice.
            let end = if bytes.starts_with(b"-----BEGIN") { "asc" } else { "gpg" };
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let keyring = context.work.join(format!("{index:02}-{stem}.{end}"));
            fs::write(&keyring, bytes).map_err(StageError::file("write the key", &keyring))?;
            Ok(Some(keyring))
        }
    }
}

/// The image with apt at work on it.
#[derive(Debug)]
pub struct AptRoot<'a> {
    context: &'a Context<'a>,
    log: &'a StageLog<'a>,
    config: PathBuf,
    inside: Inside<'a>,
}

impl<'a> AptRoot<'a> {
    /// Makes the image ready and fetches the lists of `feed`.
    pub fn open(context: &'a Context<'a>, log: &'a StageLog<'a>, feed: &Feed<'_>) -> Result<Self, StageError> {
        let config = context.work.join("apt.conf");
        let text = apt::config(&context.root, &context.work, context.plan.arch, &feed.options);
        fs::write(&config, text).map_err(StageError::file("write", &config))?;
        let list = context.work.join("sources.list");
        fs::write(&list, feed.list()).map_err(StageError::file("write", &list))?;
        for folder in ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"] {
            Place::new(&context.root).folder(folder)?;
        }
        let apt = Self { context, log, config, inside: Inside::open(&context.root, log)? };
        // A list that is missing must not pass for an empty one.
        apt.get(&["update", "--error-on=any"], &BTreeMap::new(), &[])?;
        Ok(apt)
    }

    /// Installs these in one transaction.
    pub fn install(&self, items: &[PackageItem], environment: &BTreeMap<String, String>) -> Result<(), StageError> {
        self.get(&apt::install_args(&names(items, apt::is_name)?), environment, items)
    }

    /// Removes those of these that are there.
    pub fn remove(&self, items: &[PackageItem], environment: &BTreeMap<String, String>) -> Result<(), StageError> {
        let there = installed(self.context)?;
        let (gone, absent): (Vec<_>, Vec<_>) =
            names(items, apt::is_name)?.into_iter().partition(|name| there.iter().any(|package| package.name == *name));
        for name in absent {
            self.log.say(format!("`{name}` is not installed, so there is nothing to remove"));
        }
        if gone.is_empty() { Ok(()) } else { self.get(&apt::remove_args(&gone), environment, items) }
    }

    /// Brings everything up to date.
    pub fn update(&self, kernels: Kernels, environment: &BTreeMap<String, String>) -> Result<(), StageError> {
        let kept = self.context.work.join("kernels.pref");
        let mut args = Vec::new();
        if kernels == Kernels::Kept {
            fs::write(&kept, apt::KEEP_KERNELS).map_err(StageError::file("write", &kept))?;
            args.push(format!("--option=Dir::Etc::Preferences={}", kept.display()));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).chain(apt::UPDATE_ARGS).collect();
        self.get(&args, environment, &[])
    }

    fn get(
        &self,
        args: &[&str],
        environment: &BTreeMap<String, String>,
        items: &[PackageItem],
    ) -> Result<(), StageError> {
        let cmd = Cmd::new("apt-get").args(args).envs(&self.context.package_environment(environment));
        let cmd = cmd.env("APT_CONFIG", &self.config);
        self.log.run(&cmd).map(|_| ()).map_err(|error| explained(error, items))
    }

    /// Puts the image back as it was.
    pub fn close(self) -> Result<(), StageError> {
        self.inside.close()
    }
}

/// A package manager's failure in our words, if they are known.
pub fn explained(error: CmdError, items: &[PackageItem]) -> StageError {
    match words::explain(error.lines(), items) {
        Some(found) => found.into(),
        None => error.into(),
    }
}

/// What is installed in the image.
pub fn installed(context: &Context<'_>) -> Result<Vec<Installed>, StageError> {
    let database = Place::new(&context.root).folder("var/lib/dpkg")?;
    let cmd = Cmd::new("dpkg-query").arg(format!("--admindir={}", database.display())).arg("--show");
    let listing = cmd.arg(format!("--showformat={}", dpkg::FORMAT)).capture()?;
    Ok(dpkg::installed(&String::from_utf8_lossy(&listing)))
}
