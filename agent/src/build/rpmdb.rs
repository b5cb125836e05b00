//! The image's rpm database, written by the node's rpm: it ends where the image's own rpm looks for it, in a format
//! that it reads, or the build fails.
//!
//! Each rpm has ideas of its own about the place (Debian's keeps it in the caller's home). So every program that works
//! on the image gets a home whose macros name the image's; [`settle`] lets the image's own rpm have the last word.

use std::fs;
use std::path::{Path, PathBuf};

use model::plan::RpmDatabase;

use super::context::Context;
use super::failure::StageError;
use super::place::Place;
use crate::pkg::{Installed, rpm};
use crate::sys::exec::Cmd;
use crate::worker::report::StageLog;

/// `HOME` for everything that uses the node's rpm on the image.
pub fn home(context: &Context<'_>) -> PathBuf {
    context.work.join("rpm")
}

/// Makes that home, once: what [`settle`] has found stays.
pub fn prepare(context: &Context<'_>, folder: &Path, database: RpmDatabase) -> Result<(), StageError> {
    let home = home(context);
    if home.is_dir() {
        return Ok(());
    }
    fs::create_dir(&home).map_err(StageError::file("make", &home))?;
    write_macros(context, folder, database)
}

fn write_macros(context: &Context<'_>, folder: &Path, database: RpmDatabase) -> Result<(), StageError> {
    let path = home(context).join(".rpmmacros");
    fs::write(&path, rpm::macros(folder, database)).map_err(StageError::file("write", &path))
}

/// What is installed, as the node's rpm reads it.
pub fn installed(context: &Context<'_>) -> Result<Vec<Installed>, StageError> {
    let cmd = Cmd::new("rpm").arg("--root").arg(&context.root).env("HOME", home(context));
    let listing = query(cmd)?;
    Ok(rpm::installed(&listing))
}

fn query(cmd: Cmd) -> Result<String, StageError> {
    let listing = cmd.args(["--query", "--all", "--queryformat", rpm::FORMAT]).capture()?;
    Ok(String::from_utf8_lossy(&listing).into_owned())
}

/// Moves the database to where the image's own rpm looks for it, and has that list what was installed. To be called
/// while programs can run in the image.
pub fn settle(
    context: &Context<'_>,
    log: &StageLog<'_>,
    folder: &Path,
    database: RpmDatabase,
) -> Result<(), StageError> {
    let Some(wanted) = wanted(context)? else {
        log.say("the image has no rpm of its own; its database is left where this release's would look");
        return Ok(());
    };
    let place = Place::new(&context.root);
    let (now, then) = (place.folder(&name_of(folder))?, place.folder(&name_of(&wanted))?);
    if now != then {
        log.say(format!("the image's rpm looks for its database in {}; moving it there", wanted.display()));
        move_files(&now, &then)?;
        write_macros(context, &wanted, database)?;
    }
    agrees(context, database)
}

/// Lets the node's rpm read the database of a tree that was built before, which [`settle`] has put where the image's own
/// looks. To be called while programs can run in the image.
pub fn find(context: &Context<'_>, database: RpmDatabase) -> Result<(), StageError> {
    wanted(context)?.map_or(Ok(()), |folder| write_macros(context, &folder, database))
}

/// Where the image's own rpm looks for its database, if it has one.
fn wanted(context: &Context<'_>) -> Result<Option<PathBuf>, StageError> {
    if !Place::new(&context.root).has("usr/bin/rpm") {
        return Ok(None);
    }
    let said = Cmd::in_root(&context.root, "rpm").args(["--eval", "%{_dbpath}"]).capture()?;
    let wanted = PathBuf::from(String::from_utf8_lossy(&said).trim());
    if wanted.is_absolute() {
        return Ok(Some(wanted));
    }
    Err(StageError::build(
        format!("the image's rpm looks for its database in `{}`, which is no path", wanted.display()),
        "look at the rpm macros in the image",
    ))
}

fn name_of(folder: &Path) -> String {
    folder.to_string_lossy().into_owned()
}

fn move_files(from: &Path, to: &Path) -> Result<(), StageError> {
    for entry in fs::read_dir(from).map_err(StageError::file("read", from))?.flatten() {
        let target = to.join(entry.file_name());
        fs::rename(entry.path(), &target).map_err(StageError::file("move the rpm database to", &target))?;
    }
    Ok(())
}

/// Whether the image's own rpm lists what the node's does.
fn agrees(context: &Context<'_>, database: RpmDatabase) -> Result<(), StageError> {
    let hint = "build it on a node whose release is near the image's; its rpm writes what the image's reads";
    let image = query(Cmd::in_root(&context.root, "rpm")).map_err(|error| {
        let what = format!("the image's own rpm can't read its database ({}): {}", database.backend(), error.cause);
        StageError::node(what, hint)
    })?;
    match rpm::difference(&installed(context)?, &rpm::installed(&image)) {
        None => Ok(()),
        Some(difference) => Err(StageError::node(difference, hint)),
    }
}
