//! Stage `initrd`: both initrds, by the image's own dracut, run inside the image.
//!
//! dracut's exit status says little (a module that can't be installed is an error line and status 0 or 1), so what
//! it made is looked into before it is accepted.

mod choice;
mod drivers;
mod scan;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::plan::Drivers;
use rootfs::gzip::{GzipLevel, GzipWriter};

use super::Outcome;
use super::context::{Context, MadeInitrd, State};
use super::failure::StageError;
use super::inside::Inside;
use super::place::Place;
use crate::sys::exec::Cmd;
use crate::sys::mount::Mounts;
use crate::worker::report::StageLog;
use drivers::{KernelModules, Sorted};

/// Where dracut leaves its work, seen from inside; `/run` is not part of the image.
const DESK: &str = "run/imgctl-initrd";

/// Kernel arguments for the initrds, on the desk.
const CMDLINE: &str = "cmdline";

/// Our own dracut module: fetches what `imgurl=` names. It is shown to dracut by a mount and never is in the image.
const FETCH: [(&str, &str); 3] = [
    ("module-setup.sh", include_str!("dracut/module-setup.sh")),
    ("cmdline.sh", include_str!("dracut/cmdline.sh")),
    ("imgctlroot.sh", include_str!("dracut/imgctlroot.sh")),
];

/// Where dracut finds it.
const FETCH_FOLDER: &str = "usr/lib/dracut/modules.d/97imgctl";

/// One of the two initrds.
#[derive(Debug, Clone, Copy)]
struct Flavour {
    name: &'static str,
    /// Besides those that both have.
    args: &'static [&'static str],
}

const FLAVOURS: [Flavour; 2] = [
    Flavour { name: "stateless", args: &["--add", "imgctl"] },
    // The root itself is NFS, so its file system must be there before anything can be asked for.
    Flavour { name: "statelite", args: &["--filesystems", "nfs"] },
];

/// Makes both, at the same time.
pub fn run(context: &Context<'_>, state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    let place = Place::new(&context.root);
    let modules = choice::dracut_modules(&|name| place.has(name))
        .map_err(|lack| StageError::build(lack.to_string(), lack.hint()))?;
    let inside = Inside::open(&context.root, log)?;
    let made = make(context, state, log, &modules);
    inside.close()?;
    made.map(|()| Outcome::Done)
}

fn make(context: &Context<'_>, state: &mut State, log: &StageLog<'_>, modules: &str) -> Result<(), StageError> {
    let kernel = state.kernel.as_str();
    // modules.dep, which tells what the kernel has, is only made now that every script has run.
    log.run(&Cmd::in_root(&context.root, "depmod").args(["-a", kernel]))?;
    let known = kernel_modules(context, kernel);
    let sorted = known.sort(&wanted(&context.plan.drivers, &state.new_drivers));
    if !sorted.unknown.is_empty() {
        log.say(format!("drivers that kernel {kernel} does not have, left out: {}", sorted.unknown.join(" ")));
    }
    let unknown = sorted.unknown_by_name();
    if !unknown.is_empty() {
        state.warnings.push(format!("kernel {kernel} has no driver {}; netdrivers names it", unknown.join(", ")));
    }
    let desk = context.work.join("initrd");
    fs::create_dir_all(&desk).map_err(StageError::file("make", &desk))?;
    let shown = Place::new(&context.root).folder(DESK)?;
    let mut mounts = Mounts::default();
    mounts.bind_one(&desk, &shown)?;
    let fetch = show_fetch(context, &mut mounts)?;
    let job = Job { context, kernel, log, modules, known, sorted, cmdline: cmdline(context, &desk)?, desk };
    let outcomes = side_by_side(&job);
    mounts.release()?;
    fs::remove_dir(&fetch).map_err(StageError::file("remove", &fetch))?;
    for outcome in outcomes {
        let initrd = outcome?;
        for warning in initrd.warnings {
            log.say(format!("warning: {warning}"));
            state.warnings.push(warning);
        }
        state.initrds.push(initrd.made);
    }
    Ok(())
}

/// What came from driver disks and packages stands in front of the plan's list.
fn wanted(planned: &Drivers, new: &[String]) -> Drivers {
    Drivers { load: new.iter().chain(&planned.load).cloned().collect(), ..planned.clone() }
}

fn kernel_modules(context: &Context<'_>, kernel: &str) -> KernelModules {
    let text = |name: &str| Place::new(&context.root).text(&format!("lib/modules/{kernel}/{name}"));
    KernelModules::read(&text("modules.dep"), &text("modules.builtin"))
}

/// Kernel arguments that the initrds carry themselves, in a file: a node's own command line comes after them and wins.
fn cmdline(context: &Context<'_>, desk: &Path) -> Result<bool, StageError> {
    let Some(limit) = &context.plan.wish.root_limit else { return Ok(false) };
    let path = desk.join(CMDLINE);
    fs::write(&path, format!("rootlimit={limit}\n")).map_err(StageError::file("write", &path))?;
    Ok(true)
}

fn side_by_side(job: &Job<'_>) -> [Result<Finished, StageError>; 2] {
    std::thread::scope(|scope| {
        let running = FLAVOURS.map(|flavour| scope.spawn(move || job.one(flavour)));
        running.map(|thread| {
            thread.join().unwrap_or_else(|_| Err(StageError::node("making an initrd ended in a panic", "")))
        })
    })
}

/// Shows our dracut module to the image's dracut; gives the folder that stands for it.
fn show_fetch(context: &Context<'_>, mounts: &mut Mounts) -> Result<PathBuf, StageError> {
    let ours = context.work.join("dracut");
    fs::create_dir_all(&ours).map_err(StageError::file("make", &ours))?;
    for (name, text) in FETCH {
        let path = ours.join(name);
        let written =
            fs::write(&path, text).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        written.map_err(StageError::file("write", &path))?;
    }
    let folder = Place::new(&context.root).folder(FETCH_FOLDER)?;
    mounts.bind_one(&ours, &folder)?;
    Ok(folder)
}

/// What both initrds are made from.
#[derive(Debug)]
struct Job<'a> {
    context: &'a Context<'a>,
    kernel: &'a str,
    log: &'a StageLog<'a>,
    modules: &'a str,
    known: KernelModules,
    sorted: Sorted,
    /// They get kernel arguments of their own.
    cmdline: bool,
    desk: PathBuf,
}

/// One initrd, and what the user should know of it.
#[derive(Debug)]
struct Finished {
    made: MadeInitrd,
    warnings: Vec<String>,
}

impl Job<'_> {
    fn one(&self, flavour: Flavour) -> Result<Finished, StageError> {
        let name = format!("initrd-{}.gz", flavour.name);
        let lines =
            self.log.run_named(flavour.name, &self.command(flavour)).map_err(|error| {
                match choice::refused(error.lines()) {
                    Some(cause) => StageError::build(cause, choice::REFUSED_HINT),
                    None => failed(flavour, &error.into()),
                }
            })?;
        if let Some(cause) = choice::refused(&lines) {
            return Err(StageError::build(cause, choice::REFUSED_HINT));
        }
        let raw = self.desk.join(format!("{}.img", flavour.name));
        let scan = self.verified(flavour, &raw)?;
        let verdict = drivers::judge(&name, &self.known, &self.sorted, &scan.modules);
        if let Some(cause) = verdict.failed {
            return Err(StageError::build(
                cause,
                "they are asked for by netdrivers (-n); dracut's own lines are in the log above",
            ));
        }
        let to = self.context.out.join(&name);
        let bytes = self.compress(&raw, scan.early_bytes, &to).map_err(StageError::file("write", &to))?;
        fs::remove_file(&raw).map_err(StageError::file("remove", &raw))?;
        let (files, modules) = (scan.files, scan.modules.len());
        self.log.say(format!("{name}: {files} files, {modules} of them modules, {}", crate::sys::probe::human(bytes)));
        let warnings =
            [verdict.warning, drivers::missing_firmware(&lines, &self.sorted)].into_iter().flatten().collect();
        Ok(Finished { made: MadeInitrd { report: verdict.report, modules: scan.modules }, warnings })
    }

    fn command(&self, flavour: Flavour) -> Cmd {
        let mut cmd = Cmd::in_root(&self.context.root, "dracut");
        cmd = cmd.args(["--force", "--no-hostonly", "--no-compress", "--add", self.modules]);
        if !self.sorted.loadable.is_empty() {
            cmd = cmd.arg("--add-drivers").arg(self.sorted.loadable.join(" "));
        }
        if self.cmdline {
            cmd = cmd.arg("--include").arg(format!("/{DESK}/{CMDLINE}")).arg("/etc/cmdline");
        }
        cmd.args(flavour.args).args(["--kver", self.kernel]).arg(format!("/{DESK}/{}.img", flavour.name))
    }

    fn verified(&self, flavour: Flavour, raw: &Path) -> Result<scan::Scan, StageError> {
        let bad = |what: String| {
            let cause = format!("failed to generate the initial ramdisk for {}: {what}", flavour.name);
            StageError::build(cause, "dracut's own lines in the log above say what is missing in the image")
        };
        let file = File::open(raw).map_err(|error| bad(format!("dracut left none ({error})")))?;
        let scan = scan::scan(io::BufReader::new(file), self.kernel).map_err(|error| bad(error.to_string()))?;
        match (scan.has_init, scan.modules.is_empty()) {
            (true, false) => Ok(scan),
            (false, _) => Err(bad("it has no /init".to_owned())),
            (_, true) => Err(bad(format!("it has no modules of kernel {}", self.kernel))),
        }
    }

    /// The early archive, if there is one, must stay uncompressed: the kernel reads it before it can decompress.
    fn compress(&self, raw: &Path, early_bytes: u64, to: &Path) -> io::Result<u64> {
        let mut from = File::open(raw)?;
        let mut out = BufWriter::new(File::create(to)?);
        io::copy(&mut (&mut from).take(early_bytes), &mut out)?;
        // The other initrd is made at the same time.
        let threads = NonZeroUsize::new(self.context.threads().get().div_ceil(2)).unwrap_or(NonZeroUsize::MIN);
        let mut packed = GzipWriter::new(out, GzipLevel::default(), threads)?;
        io::copy(&mut from, &mut packed)?;
        let mut out = packed.finish()?;
        out.flush()?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        Ok(file.metadata()?.len())
    }
}

/// dracut itself gave up.
fn failed(flavour: Flavour, error: &StageError) -> StageError {
    StageError {
        cause: format!("failed to generate the initial ramdisk for {}: {}", flavour.name, error.cause),
        hint: error.hint.clone(),
        blame: error.blame,
    }
}
