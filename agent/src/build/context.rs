//! What every stage gets: the order, the plan, and where things lie; and what the stages leave for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use model::initrd::InitrdReport;
use model::plan::BuildPlan;
use serde::Serialize;

use crate::worker::order::Order;
use crate::worker::report::Product;

/// An attempt and its folders.
#[derive(Debug)]
pub struct Context<'a> {
    /// From the agent.
    pub order: &'a Order,
    /// From the coordinator.
    pub plan: &'a BuildPlan,
    /// What leaves the node.
    pub out: PathBuf,
    /// The tree.
    pub root: PathBuf,
    /// Configuration, keys, scripts: gone when the attempt is.
    pub work: PathBuf,
}

/// What stages learn for later ones.
#[derive(Debug, Default)]
pub struct State {
    /// The archive's file, opened while everything could still be written to.
    pub archive: Option<File>,
    /// The kernel's release, from `configure` on.
    pub kernel: String,
    /// The modules that came from driver disks and packages, from `configure` on.
    pub new_drivers: Vec<String>,
    /// The initrds, from `initrd` on.
    pub initrds: Vec<MadeInitrd>,
    /// The processor's architecture, where the image's programs are emulated.
    pub emulated_on: Option<String>,
    /// What the user should know though the build goes on.
    pub warnings: Vec<String>,
    /// What `publish` made.
    pub product: Option<Product>,
}

/// An initrd with everything that it can load, as `build.json` tells it.
#[derive(Debug, Serialize)]
pub struct MadeInitrd {
    /// The short form, for the build's record.
    #[serde(flatten)]
    pub report: InitrdReport,
    /// Its modules by name.
    #[serde(rename = "module_names")]
    pub modules: BTreeSet<String>,
}

impl<'a> Context<'a> {
    /// The folders of an order; `prepare` makes them.
    pub fn new(order: &'a Order, plan: &'a BuildPlan) -> Self {
        let out = order.scratch.join("out");
        Self { order, plan, root: out.join("rootimg"), out, work: order.scratch.join("work") }
    }

    /// How many threads to compress with.
    pub fn threads(&self) -> NonZeroUsize {
        std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
    }

    /// The variables for a package manager: its pass's own win over those of the osimage.
    pub fn package_environment(&self, pass: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let fixed = [("DEBIAN_FRONTEND", "noninteractive"), ("DEBCONF_NONINTERACTIVE_SEEN", "true"), ("INITRD", "No")];
        // INITRD=No: or the kernel's own hooks would make an initrd that nobody uses, twice.
        let mut all: BTreeMap<_, _> =
            fixed.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        all.extend(self.order.proxies.clone());
        all.extend(self.plan.environment.clone());
        all.extend(pass.clone());
        all
    }
}
