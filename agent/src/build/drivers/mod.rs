//! Newer drivers for the image's kernel, from driver disks and driver packages (XCAT.md 6.8): modules and firmware are
//! copied into the tree before any script runs; the initrd stage runs depmod and puts the names in front of its list.

mod cpio;
mod ext;
mod harvest;
mod image;
mod unpack;
mod watch;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::plan::{DriverSource, SourceKind, Take};
use rootfs::remove::remove_tree;

use self::harvest::{Firmware, Harvest, Module};
use self::unpack::Disk;
use super::context::{Context, State};
use super::failure::{StageError, chain};
use super::place::Place;
use crate::worker::report::StageLog;

/// Where a module goes that the kernel has none of the same name of.
const NEW: &str = "kernel/drivers/driverdisk";

/// Takes what the plan's sources hold for the chosen kernel.
pub fn run(context: &Context<'_>, state: &mut State, log: &StageLog<'_>) -> Result<(), StageError> {
    let sources = &context.plan.drivers.sources;
    let mut taker = Taker { context, kernel: &state.kernel, log, found: BTreeSet::new(), warnings: Vec::new() };
    for (index, source) in sources.iter().enumerate() {
        taker.source(index, source)?;
    }
    let Taker { found, warnings, .. } = taker;
    for warning in &warnings {
        log.say(format!("warning: {warning}"));
    }
    state.new_drivers = found.into_iter().collect();
    state.warnings.extend(warnings);
    Ok(())
}

struct Taker<'a> {
    context: &'a Context<'a>,
    kernel: &'a str,
    log: &'a StageLog<'a>,
    /// The modules that were taken, by name.
    found: BTreeSet<String>,
    warnings: Vec<String>,
}

impl Taker<'_> {
    fn source(&mut self, index: usize, source: &DriverSource) -> Result<(), StageError> {
        let desk = self.context.work.join("drivers").join(index.to_string());
        fs::create_dir_all(&desk).map_err(StageError::file("make", &desk))?;
        match source.kind {
            SourceKind::Disk => self.disk(&source.path, &desk),
            SourceKind::Package if self.context.plan.drivers.take == Take::Nothing => Ok(()),
            SourceKind::Package if source.path.is_dir() => {
                let packages = harvest::packages_in(&source.path);
                packages.iter().enumerate().try_for_each(|(at, path)| self.package(path, &desk.join(at.to_string())))
            }
            SourceKind::Package => self.package(&source.path, &desk.join("0")),
        }?;
        clear(&desk)
    }

    /// Everything is taken from a disk, and from the packages on it.
    fn disk(&mut self, path: &Path, desk: &Path) -> Result<(), StageError> {
        self.log.say(format!("driver disk {}", path.display()));
        let folders = match unpack::disk(path, desk, self.log)? {
            Disk::Content(folders) => folders,
            Disk::NotOne(why) => {
                let path = path.display();
                self.warnings
                    .push(format!("the driver disk `{path}` has not correct format and is passed over: {why}"));
                return Ok(());
            }
        };
        let all = |_: &str| true;
        let mut empty = true;
        for (at, folder) in folders.iter().enumerate() {
            let mut harvest = harvest::gather(folder);
            empty &= harvest == Harvest::default();
            for (number, package) in std::mem::take(&mut harvest.packages).iter().enumerate() {
                let folder = desk.join(format!("package-{at}-{number}"));
                unpack::package(package, &folder, self.log)?;
                self.take(harvest::gather(&folder), package, &all)?;
                clear(&folder)?;
            }
            self.take(harvest, path, &all)?;
        }
        if empty {
            let path = path.display();
            self.warnings.push(format!("the driver disk `{path}` holds neither modules nor firmware nor packages"));
        }
        Ok(())
    }

    fn package(&mut self, path: &Path, folder: &Path) -> Result<(), StageError> {
        self.log.say(format!("driver package {}", path.display()));
        unpack::package(path, folder, self.log)?;
        let drivers = &self.context.plan.drivers;
        let named: BTreeSet<String> = drivers.named.iter().map(|name| harvest::module_name(name)).collect();
        let wanted = |name: &str| drivers.take == Take::All || named.contains(name);
        self.take(harvest::gather(folder), path, &wanted)?;
        clear(folder)
    }

    fn take(&mut self, harvest: Harvest, source: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<(), StageError> {
        let place = Place::new(&self.context.root);
        for module in harvest.modules.iter().filter(|module| wanted(&module.name)) {
            if self.fits(module)?
                && let Some(to) = self.module(place, module, source)?
            {
                self.log.say(format!("{} of {} is /{to} now", module.name, source.display()));
                self.found.insert(module.name.clone());
            }
        }
        let mut count = 0;
        for file in &harvest.firmware {
            let to = format!("lib/firmware/{}", file.name);
            if self.has_room(place, &to, source) {
                firmware(place, file, &to)?;
                count += 1;
            }
        }
        if count > 0 {
            self.log.say(format!("{count} files of firmware from {}", source.display()));
        }
        Ok(())
    }

    /// Whether a file can be put there; if not, that is no fault of the node.
    fn has_room(&mut self, place: Place<'_>, to: &str, source: &Path) -> bool {
        let Some(why) = obstacle(place, to) else { return true };
        self.warnings
            .push(format!("`/{to}` of the driver's source `{}` is left out: in the image {why}", source.display()));
        false
    }

    /// Whether a module was built for the image's kernel, or the user says that it doesn't matter.
    fn fits(&mut self, module: &Module) -> Result<bool, StageError> {
        let bytes = unpack::module(&module.path, &self.context.work.join("drivers"), self.log)?;
        let built_for = harvest::built_for(&bytes);
        let (name, kernel, arch) = (&module.name, self.kernel, self.context.plan.arch);
        if !harvest::runs_on(&bytes, arch) {
            // On a disk for several architectures the last one would win with --ignorekernelchk.
            self.warnings.push(format!("driver {name} is for another architecture than {arch}; it is left out"));
            return Ok(false);
        }
        if built_for.as_deref() == Some(kernel) {
            return Ok(true);
        }
        let built_for = built_for.unwrap_or_else(|| "no kernel that it names".to_owned());
        let text = format!("driver {name} was built for {built_for}, and the image's kernel is {kernel}");
        if self.context.plan.wish.ignore_kernel_check {
            self.log.say(format!("{text}; it is taken all the same (--ignorekernelchk)"));
            return Ok(true);
        }
        self.warnings.push(format!("{text}; it is left out, --ignorekernelchk takes it all the same"));
        Ok(false)
    }

    /// Puts a module where the kernel's own of the same name stands, else among the new ones; gives that path. `None`:
    /// there is something else that stays.
    fn module(&mut self, place: Place<'_>, module: &Module, source: &Path) -> Result<Option<String>, StageError> {
        let folder = format!("lib/modules/{}", self.kernel);
        // Also proves that no link leads out of the image.
        let top = place.spot(&format!("{folder}/modules.dep"))?;
        let top = top.parent().unwrap_or(&self.context.root).to_owned();
        let old = harvest::gather(&top).modules.into_iter().find(|old| old.name == module.name);
        let within = |path: &Path| path.strip_prefix(&top).map(|path| format!("{folder}/{}", path.display())).ok();
        let old = old.as_ref().and_then(|old| Some((within(&old.path)?, within(old.path.parent()?)?)));
        let to = match &old {
            Some((_, parent)) => format!("{parent}/{}", module.file),
            None => format!("{folder}/{NEW}/{}", module.file),
        };
        if !self.has_room(place, &to, source) {
            return Ok(None);
        }
        if let Some((old, _)) = old {
            place.remove(&old)?;
        }
        place.remove(&to)?;
        copy(&module.path, &place.spot(&to)?)?;
        Ok(Some(to))
    }
}

/// What of the image is in a file's way and can't be replaced by it.
fn obstacle(place: Place<'_>, to: &str) -> Option<&'static str> {
    let Some(path) = place.at(to) else { return Some("links go round in circles there") };
    let is_folder = |path: &Path| path.symlink_metadata().ok().map(|meta| meta.is_dir());
    if is_folder(&path) == Some(true) {
        return Some("a folder has that name");
    }
    // Links on the way were followed, so the nearest that is there is a folder or in the way.
    let above = path.ancestors().skip(1).find_map(is_folder);
    (above == Some(false)).then_some("a file has the name of one of its folders")
}

fn firmware(place: Place<'_>, file: &Firmware, to: &str) -> Result<(), StageError> {
    place.remove(to)?;
    match fs::read_link(&file.path) {
        Ok(target) => place.link(&target.to_string_lossy(), to),
        Err(_) => copy(&file.path, &place.spot(to)?),
    }
}

/// What was unpacked goes as soon as it has been gone through: each source is bounded, their number is not.
fn clear(folder: &Path) -> Result<(), StageError> {
    remove_tree(folder).map(|_| ()).map_err(|error| StageError::node(chain(&error), ""))
}

fn copy(from: &Path, to: &PathBuf) -> Result<(), StageError> {
    fs::copy(from, to).map_err(StageError::file("copy", from))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o644)).map_err(StageError::file("write", to))
}

#[cfg(test)]
mod tests;
