//! Stage `postinstall`: the site's own scripts, under xCAT's contract (XCAT.md 5.1).
//!
//! They run on the node, as root, not in the image. What they see of the tree and the install root is made by
//! [`super::view`].

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::plan::Script;

use super::Outcome;
use super::context::{Context, State};
use super::failure::StageError;
use super::place::Place;
use super::view;
use crate::sys::exec::{Cmd, CmdError};
use crate::sys::mount::{Mounts, unmount_below};
use crate::sys::process::kill_inside;
use crate::worker::report::StageLog;

const UNAME: &str = include_str!("uname.sh");

/// Runs every script, from left to right, up to the first that fails.
pub fn run(context: &Context<'_>, state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    if context.plan.postinstall.is_empty() {
        return Ok(Outcome::Skipped);
    }
    // Declared first, so dropped last: after the mounts.
    let view;
    let mut mounts = Mounts::default();
    view = view::show(context, &mut mounts)?;
    stand_in_for_uname(context, state, &view.target, &mut mounts)?;
    let folder = context.work.join("postinstall");
    let outcome = scripts(context, state, log, &folder, &view.target);
    kill_inside(&view.target);
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
