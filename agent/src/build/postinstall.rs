//! Stage `postinstall`: the site's own scripts, under xCAT's contract (XCAT.md 5.1).
//!
//! They run on the node, as root, not in the image. For them the tree stands at `<rootimgdir>/rootimg`, where it
//! would on the MN, and the rest of the install root is read-only. All of that is in the worker's own namespace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::plan::Script;
use rustix::mount::MountFlags;

use super::Outcome;
use super::context::{Context, State};
use super::failure::StageError;
use super::place::Place;
use crate::sys::exec::{Cmd, CmdError};
use crate::sys::mount::{Mounts, make_read_only, unmount_below};
use crate::sys::process::kill_inside;
use crate::worker::report::StageLog;

const UNAME: &str = include_str!("uname.sh");

/// Runs every script, from left to right, up to the first that fails.
pub fn run(context: &Context<'_>, state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    if context.plan.postinstall.is_empty() {
        return Ok(Outcome::Skipped);
    }
    let mut mounts = Mounts::default();
    let target = show_tree(context, &mut mounts)?;
    stand_in_for_uname(context, state, &target, &mut mounts)?;
    let folder = context.work.join("postinstall");
    let outcome = scripts(context, state, log, &folder, &target);
    kill_inside(&target);
    kill_inside(&context.root);
    mounts.release()?;
    for point in unmount_below(&context.root)? {
        log.say(format!("unmounted `{}`, which a script had left mounted", point.display()));
    }
    outcome.map(|()| Outcome::Done)
}

fn scripts(
    context: &Context<'_>,
    state: &State,
    log: &StageLog<'_>,
    folder: &Path,
    target: &Path,
) -> Result<(), StageError> {
    make_folder(folder)?;
    let environment = environment(context, state, target);
    for script in &context.plan.postinstall {
        let path = write_script(folder, script)?;
        let cmd = command(&path, script).arg(target).arg(&context.plan.osvers).arg(&context.plan.osarch);
        let cmd = cmd.arg(&context.plan.profile).args(&script.args).envs(&environment).directory(folder);
        log.run(&cmd).map_err(|error| failed(script, &error))?;
    }
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), StageError> {
    let made = fs::create_dir(folder).and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)));
    made.map_err(StageError::file("make", folder))
}

fn write_script(folder: &Path, script: &Script) -> Result<PathBuf, StageError> {
    let damaged =
        || StageError::build(format!("postinstall script `{}` is damaged in the plan", script.path.display()), "");
    let name = script.path.file_name().ok_or_else(damaged)?;
    let path = folder.join(name);
    let write = || {
        fs::write(&path, script.content.to_bytes().ok_or(std::io::ErrorKind::InvalidData)?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
    };
    write().map_err(StageError::file("write", &path))?;
    Ok(path)
}

/// A script without a first line that names its interpreter is the shell's, as for xCAT.
fn command(path: &Path, script: &Script) -> Cmd {
    let bytes = script.content.to_bytes().unwrap_or_default();
    if bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF") {
        Cmd::new(path)
    } else {
        Cmd::new("/bin/sh").arg(path)
    }
}

fn failed(script: &Script, error: &CmdError) -> StageError {
    let mut found = StageError::build(
        format!("postinstall script {} failed: {error}", script.path.display()),
        "its own output stands in the log above",
    );
    if let CmdError::Start { source, .. } = error {
        found.cause = format!("postinstall script {} failed: cannot run it: {source}", script.path.display());
        found.hint = "look whether this node has the interpreter that its first line names".to_owned();
    }
    found
}

fn environment(context: &Context<'_>, state: &State, target: &Path) -> BTreeMap<String, String> {
    let mut all = context.plan.script_environment.clone();
    all.extend(context.plan.environment.clone());
    all.insert("IMG_KERNELVERSION".to_owned(), state.kernel.clone());
    all.insert("IMG_ROOTIMGDIR".to_owned(), target.to_string_lossy().into_owned());
    all
}

/// Shows the tree at `<rootimgdir>/rootimg`, over a folder that hides what stands there from earlier builds.
fn show_tree(context: &Context<'_>, mounts: &mut Mounts) -> Result<PathBuf, StageError> {
    let rootimgdir = &context.plan.rootimgdir;
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    let covered: PathBuf;
    let standing = rootimgdir.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    if standing == Path::new("/") {
        // Nothing of the path is on this node, so no install root is: an empty folder is all it needs.
        let first: PathBuf = rootimgdir.components().take(2).collect();
        fs::create_dir_all(&first).map_err(StageError::file("make", &first))?;
        mounts.special("tmpfs", &first, plain, Some(c"mode=755"))?;
        covered = first;
    } else if standing == rootimgdir.as_path() {
        mounts.special("tmpfs", rootimgdir, plain, Some(c"mode=755"))?;
        covered = rootimgdir.clone();
    } else {
        mirror(context, standing, mounts)?;
        covered = standing.to_owned();
    }
    let target = rootimgdir.join("rootimg");
    fs::create_dir_all(&target).map_err(StageError::file("make", &target))?;
    mounts.bind_one(&context.root, &target)?;
    // What a script writes beside the tree would be lost without a word: now it is told.
    make_read_only(&covered)?;
    Ok(target)
}

/// Makes `folder`, which can't be written to, one in which new folders can be made, with all that it shows.
fn mirror(context: &Context<'_>, folder: &Path, mounts: &mut Mounts) -> Result<(), StageError> {
    let aside = context.work.join("aside");
    fs::create_dir_all(&aside).map_err(StageError::file("make", &aside))?;
    mounts.bind(folder, &aside)?;
    mounts.special("tmpfs", folder, MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))?;
    for entry in fs::read_dir(&aside).map_err(StageError::file("read", folder))?.flatten() {
        let (from, to) = (entry.path(), folder.join(entry.file_name()));
        let show = |mounts: &mut Mounts| {
            match entry.file_type()? {
                kind if kind.is_symlink() => std::os::unix::fs::symlink(fs::read_link(&from)?, &to).map(|()| false),
                kind if kind.is_dir() => fs::create_dir(&to).map(|()| true),
                _ => fs::write(&to, "").map(|()| true),
            }
            .and_then(|bind| if bind { mounts.bind(&from, &to).map_err(std::io::Error::other) } else { Ok(()) })
        };
        show(mounts).map_err(StageError::file("show", &to))?;
    }
    Ok(())
}

/// Over the image's `uname`, by a mount: so nothing of it is left when the mount is gone.
fn stand_in_for_uname(
    context: &Context<'_>,
    state: &State,
    target: &Path,
    mounts: &mut Mounts,
) -> Result<(), StageError> {
    let place = Place::new(&context.root);
    let real = target.join("usr/bin/uname");
    if !place.has("usr/bin/uname") || !place.has("bin/sh") || real.is_symlink() {
        return Ok(());
    }
    let path = context.work.join("uname");
    let text = UNAME.replace("@KERNEL@", &state.kernel).replace("@MACHINE@", context.plan.arch.as_str());
    let written = fs::write(&path, text).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
    written.map_err(StageError::file("write", &path))?;
    mounts.bind_one(&path, &real)?;
    Ok(())
}
