//! Drivers: which of those that the plan lists the image's kernel has, and which of them reached an initrd. Pure.
//!
//! dracut-install stops at the first name that it doesn't know, leaves out all after it and ends with status 0; so it
//! is told only names that are there, and what it made is compared with what it was told.

use std::collections::{BTreeSet, HashMap, HashSet};

use model::initrd::InitrdReport;
use model::plan::Drivers;

/// xCAT's name for a family of which only this one is left.
const RENAMED: (&str, &str) = ("mlx_en", "mlx4_en");

/// How many names of missing things go into one message.
const SHOWN: usize = 8;

/// The modules of a kernel.
#[derive(Debug, Default)]
pub(super) struct KernelModules {
    /// By name, with those that each needs.
    loadable: HashMap<String, Vec<String>>,
    built_in: HashSet<String>,
}

impl KernelModules {
    /// From the texts of `modules.dep` and `modules.builtin`.
    pub(super) fn read(dep: &str, builtin: &str) -> Self {
        let loadable = dep.lines().filter_map(|line| {
            let (file, needs) = line.split_once(':')?;
            Some((file_name(file), needs.split_whitespace().map(file_name).collect()))
        });
        Self { loadable: loadable.collect(), built_in: builtin.lines().map(file_name).collect() }
    }

    /// Sorts the plan's drivers.
    pub(super) fn sort(&self, wanted: &Drivers) -> Sorted {
        let mut sorted = Sorted::default();
        for driver in &wanted.load {
            let name = driver_name(driver);
            if self.loadable.contains_key(&name) {
                if !sorted.loadable.contains(&name) {
                    sorted.loadable.push(name);
                }
            } else if self.built_in.contains(&name) {
                if !sorted.built_in.contains(&name) {
                    sorted.built_in.push(name);
                }
            } else if !sorted.unknown.contains(driver) {
                sorted.unknown.push(driver.clone());
            }
        }
        sorted.named = wanted.named.iter().map(|driver| driver_name(driver)).collect();
        sorted
    }

    /// What a driver needs and an initrd doesn't hold.
    fn lacking<'a>(&'a self, driver: &str, held: &BTreeSet<String>) -> Vec<&'a str> {
        let needs = self.loadable.get(driver).into_iter().flatten();
        needs.map(String::as_str).filter(|need| !held.contains(*need)).collect()
    }
}

/// The plan's drivers by where the kernel has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    /// As modules, for dracut.
    pub(super) loadable: Vec<String>,
    /// Built in, which needs nothing.
    pub(super) built_in: Vec<String>,
    /// Not at all, by the plan's own name.
    pub(super) unknown: Vec<String>,
    /// Those that the user asks for.
    named: Vec<String>,
}

impl Sorted {
    /// What the user asks for and the kernel lacks.
    pub(super) fn unknown_by_name(&self) -> Vec<&str> {
        let named = |driver: &&String| self.named.contains(&driver_name(driver));
        self.unknown.iter().filter(named).map(String::as_str).collect()
    }
}

/// How an initrd stands to the plan's drivers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// For the build's record.
    pub(super) report: InitrdReport,
    /// Drivers that were asked for by name and did not arrive whole: the build can't go on.
    pub(super) failed: Option<String>,
    /// Drivers of the default list that did not arrive whole.
    pub(super) warning: Option<String>,
}

/// Compares what dracut was told with what it made.
pub(super) fn judge(name: &str, kernel: &KernelModules, sorted: &Sorted, held: &BTreeSet<String>) -> Verdict {
    let (mut drivers, mut missing) = (sorted.built_in.clone(), sorted.unknown.clone());
    let (mut failed, mut warned) = (Vec::new(), Vec::new());
    for driver in &sorted.loadable {
        let place = if sorted.named.contains(driver) { &mut failed } else { &mut warned };
        let lacking = kernel.lacking(driver, held);
        if !held.contains(driver) {
            missing.push(driver.clone());
            place.push(driver.clone());
            continue;
        }
        drivers.push(driver.clone());
        if !lacking.is_empty() {
            place.push(format!("{driver} (without {}, which it needs)", lacking.join(" ")));
        }
    }
    let modules = u32::try_from(held.len()).unwrap_or(u32::MAX);
    let said = |what: Vec<String>| {
        (!what.is_empty())
            .then(|| format!("{name}: the kernel has these drivers, and dracut left them out: {}", few(&what)))
    };
    Verdict {
        report: InitrdReport { name: name.to_owned(), modules, drivers, missing },
        failed: said(failed),
        warning: said(warned),
    }
}

/// Firmware that dracut says is missing for one of the plan's drivers.
pub(super) fn missing_firmware(lines: &[String], sorted: &Sorted) -> Option<String> {
    let mut found = BTreeSet::new();
    for line in lines.iter().filter(|line| line.to_lowercase().contains("missing firmware")) {
        let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || "\"'`,".contains(c)).collect();
        let driver = words.iter().map(|word| file_name(word)).find(|word| sorted.loadable.contains(word));
        let file = words.iter().find(|word| word.contains('/') || word.ends_with(".bin") || word.ends_with(".fw"));
        if let (Some(driver), Some(file)) = (driver, file) {
            found.insert(format!("{file} for {driver}"));
        }
    }
    let found: Vec<String> = found.into_iter().collect();
    (!found.is_empty()).then(|| format!("dracut says that firmware is missing in the image: {}", few(&found)))
}

/// The first of many, and how many more there are.
fn few(all: &[String]) -> String {
    let rest = all.len().saturating_sub(SHOWN);
    let shown = all[..all.len() - rest].join(", ");
    if rest == 0 { shown } else { format!("{shown} and {rest} more") }
}

fn driver_name(driver: &str) -> String {
    module_name(if driver == RENAMED.0 { RENAMED.1 } else { driver })
}

fn file_name(path: &str) -> String {
    module_name(path.rsplit('/').next().unwrap_or(path))
}

/// `virtio-net.ko.xz` and `virtio_net` are one.
pub(super) fn module_name(file: &str) -> String {
    let stem = file.split_once(".ko").map_or(file, |(stem, _)| stem);
    stem.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/drivers/net/virtio_net.ko: kernel/net/core/failover.ko kernel/drivers/net/net_failover.ko\n\
        kernel/drivers/net/ethernet/mellanox/mlx4/mlx4_en.ko.xz:\nkernel/drivers/net/ethernet/intel/e1000e/e1000e.ko.zst:\n";

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn sorted(named: &[&str]) -> (KernelModules, Sorted) {
        let kernel = KernelModules::read(DEP, "kernel/fs/ext4/ext4.ko\n");
        let load = list(&["tg3", "virtio-net", "mlx_en", "e1000e", "ext4", "virtio_net"]);
        let sorted = kernel.sort(&Drivers { load, named: list(named), ..Drivers::default() });
        (kernel, sorted)
    }

    #[test]
    fn drivers_are_sorted_by_where_the_kernel_has_them() {
        let (_, sorted) = sorted(&["tg3"]);
        assert_eq!(sorted.loadable, ["virtio_net", "mlx4_en", "e1000e"]);
        assert_eq!(
            (sorted.built_in.as_slice(), sorted.unknown.as_slice()),
            (&list(&["ext4"])[..], &list(&["tg3"])[..])
        );
        assert_eq!(sorted.unknown_by_name(), ["tg3"]);
    }

    #[test]
    fn what_dracut_left_out_is_told_and_fails_the_build_if_it_was_named() {
        let (kernel, by_name) = sorted(&["mlx_en", "virtio-net"]);
        let held = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let whole = held(&["virtio_net", "net_failover", "failover", "mlx4_en", "e1000e"]);
        let verdict = judge("i", &kernel, &by_name, &whole);
        assert_eq!((verdict.failed, verdict.warning), (None, None));
        let report = verdict.report;
        assert_eq!((report.modules, report.missing), (5, list(&["tg3"])));
        assert_eq!(report.drivers, ["ext4", "virtio_net", "mlx4_en", "e1000e"]);

        let verdict = judge("i", &kernel, &by_name, &held(&["virtio_net", "failover"]));
        let left_out = "i: the kernel has these drivers, and dracut left them out";
        let first = "virtio_net (without net_failover, which it needs), mlx4_en";
        assert_eq!(verdict.failed.as_deref(), Some(format!("{left_out}: {first}").as_str()));
        assert_eq!(verdict.warning, Some(format!("{left_out}: e1000e")));
        assert_eq!(verdict.report.missing, ["tg3", "mlx4_en", "e1000e"]);
        let (_, unnamed) = sorted(&[]);
        assert_eq!(judge("i", &kernel, &unnamed, &held(&[])).failed, None);
    }

    #[test]
    fn missing_firmware_counts_for_the_plans_drivers_alone() {
        let (_, sorted) = sorted(&[]);
        let lines = list(&[
            "dracut: Possible missing firmware \"mellanox/mlx4.bin\" for kernel module \"mlx4_en.ko\"",
            "dracut: Possible missing firmware \"radeon/R600.bin\" for kernel module \"radeon.ko\"",
            "dracut: *** Including modules done ***",
        ]);
        let expected = "dracut says that firmware is missing in the image: mellanox/mlx4.bin for mlx4_en";
        assert_eq!(missing_firmware(&lines, &sorted).as_deref(), Some(expected));
        assert_eq!(missing_firmware(&lines[1..], &sorted), None);
    }
}
