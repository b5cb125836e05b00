//! Logs: whole lines, one form of each, and each of an attempt that there is.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use model::build::Build;
use model::id::{Attempt, AttemptId, BuildId};
use rootfs::compress::zstd_reader;

use super::finding::counted;
use super::{Area, Look};
use crate::logs::{attempt_id, count, sealed};

const COMPRESSED: &str = ".log.zst";
const HALF: &str = ".log.zst.new";

pub(super) fn check(look: &mut Look<'_>) {
    let dir = look.config.logs_dir();
    let builds = look.builds();
    let mut logs = 0;
    builds.values().for_each(|build| missing(look, build, &dir));
    for folder in children(&dir) {
        let build: Option<BuildId> = name_of(&folder).parse().ok();
        let Some(build) = build.and_then(|id| builds.get(&id)) else {
            if !look.knows_all() {
                continue;
            }
            let next = "look whether anybody wants it, then remove it";
            look.report.warning(Area::Logs, &folder, "the log of no build that the store knows", next);
            continue;
        };
        half_made(look, &folder);
        for plain in plain_paths(&folder) {
            logs += 1;
            one(look, build, &plain);
        }
    }
    look.report.ok(Area::Logs, &dir, counted(logs, "log"));
}

/// An attempt that came to a verdict of its own has said something.
fn missing(look: &mut Look<'_>, build: &Build, dir: &Path) {
    for record in &build.attempts {
        let told = record.outcome.as_deref().is_some_and(|end| end == "received" || end.starts_with("failed in"));
        let plain = dir.join(build.id.to_string()).join(format!("{}.log", record.attempt));
        if told && !plain.exists() && !sealed(&plain).exists() {
            let what = format!("the log of attempt {} of build {} is missing", record.attempt, build.id);
            look.report.warning(
                Area::Logs,
                &plain,
                what,
                "restore it from a backup; it is needed for nothing but reading",
            );
        }
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Of each log, whatever its form, where it stands while it is written.
fn plain_paths(folder: &Path) -> Vec<PathBuf> {
    let mut plain: BTreeMap<PathBuf, ()> = BTreeMap::new();
    for path in children(folder) {
        let name = name_of(&path);
        if let Some(attempt) = name.strip_suffix(COMPRESSED).or(name.strip_suffix(".log")) {
            plain.insert(folder.join(format!("{attempt}.log")), ());
        }
    }
    plain.into_keys().collect()
}

fn half_made(look: &mut Look<'_>, folder: &Path) {
    for path in children(folder).into_iter().filter(|path| name_of(path).ends_with(HALF)) {
        let fix = || Ok(fs::remove_file(&path)?);
        look.report.repairable(
            Area::Logs,
            &path,
            "a half-made compressed log",
            "remove it: the plain one is there",
            fix,
        );
    }
}

fn one(look: &mut Look<'_>, build: &Build, plain: &Path) {
    let compressed = sealed(plain);
    match (plain.exists(), compressed.exists()) {
        (true, true) => both(look, plain, &compressed),
        (false, true) => {
            if let Err(error) =
                zstd_reader_of(&compressed).and_then(|mut reader| io::copy(&mut reader, &mut io::sink()))
            {
                let what = format!("the compressed log can't be read to its end: {error}");
                look.report.error(
                    Area::Logs,
                    &compressed,
                    what,
                    "restore it from a backup; it is needed for nothing but reading",
                );
            }
        }
        _ => {}
    }
    if plain.exists() {
        torn(look, plain);
        uncompressed(look, build, plain);
    }
}

/// What holding the two forms of one log against each other shows.
enum Compared {
    Same,
    Differ,
    /// The compressed one can't be unpacked; the plain one was read to its end.
    Damaged(io::Error),
}

/// A kill between the making of the compressed log and the removal of the plain one leaves both.
fn both(look: &mut Look<'_>, plain: &Path, compressed: &Path) {
    match compare(plain, compressed) {
        Ok(Compared::Same) => look.report.repairable(
            Area::Logs,
            plain,
            "the log is there twice, plain and compressed, and both are the same",
            "remove the plain one",
            || Ok(fs::remove_file(plain)?),
        ),
        Ok(Compared::Differ) => {
            let next = "compare them and remove one; until then readers see the plain one";
            look.report.error(Area::Logs, plain, "the plain and the compressed log differ", next);
        }
        Ok(Compared::Damaged(error)) => look.report.repairable(
            Area::Logs,
            compressed,
            format!("the compressed log can't be unpacked ({error}); the plain one is there"),
            "remove the compressed one",
            || Ok(fs::remove_file(compressed)?),
        ),
        Err((path, error)) => {
            let what = format!("the log is there twice, and this form can't be read: {error}");
            look.report.error(Area::Logs, path, what, "look at the disk; both are left as they are");
        }
    }
}

/// Only what the decompressor says is held against the compressed log; an error of the disk, which has a number, says
/// nothing about what stands in a file. It comes with the file that it was met in.
fn compare<'a>(plain: &'a Path, compressed: &'a Path) -> Result<Compared, (&'a Path, io::Error)> {
    let of_plain = |error| (plain, error);
    let mut straight = BufReader::new(File::open(plain).map_err(of_plain)?);
    let mut unpacked = zstd_reader_of(compressed).map_err(|error| (compressed, error))?;
    let (mut a, mut b) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut alike = true;
    loop {
        let read = match unpacked.read(&mut b) {
            Ok(0) if alike && straight.read(&mut a).map_err(of_plain)? == 0 => return Ok(Compared::Same),
            Ok(0) => return Ok(Compared::Differ),
            Ok(read) => read,
            Err(error) if error.raw_os_error().is_some() => return Err((compressed, error)),
            Err(error) => {
                io::copy(&mut straight, &mut io::sink()).map_err(of_plain)?;
                return Ok(Compared::Damaged(error));
            }
        };
        // Unpacked to its end all the same: whether it can be is the first question.
        alike = alike && follows(&mut straight, &mut a[..read], &b[..read]).map_err(of_plain)?;
    }
}

fn follows(from: &mut impl Read, buffer: &mut [u8], expected: &[u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(buffer == expected),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn zstd_reader_of(path: &Path) -> io::Result<impl Read> {
    zstd_reader(File::open(path)?)
}

/// A line without its end: of a kill in the middle of a write.
fn torn(look: &mut Look<'_>, plain: &Path) {
    let counted = File::open(plain).and_then(|file| Ok((file.metadata()?.len(), count(&mut BufReader::new(file))?)));
    match counted {
        Ok((len, counted)) if len > counted.bytes => {
            let what = format!("the last line is torn: {} bytes of it", len - counted.bytes);
            let fix = || Ok(OpenOptions::new().write(true).open(plain)?.set_len(counted.bytes)?);
            look.report.repairable(
                Area::Logs,
                plain,
                what,
                "cut it off; its agent sends it again, if the build goes on",
                fix,
            );
        }
        Ok(_) => {}
        Err(error) => look.report.error(Area::Logs, plain, format!("can't be read: {error}"), "look at the disk"),
    }
}

/// Left so by a full disk at its end.
fn uncompressed(look: &mut Look<'_>, build: &Build, plain: &Path) {
    let Some(id) = attempt_of(build.id, plain).filter(|_| build.state.is_final() && !sealed(plain).exists()) else {
        return;
    };
    let logs = crate::logs::Logs::open(&look.config.logs_dir());
    let runtime = &look.runtime;
    let fix = || Ok(runtime.block_on(logs?.compress(id))?);
    look.report.repairable(
        Area::Logs,
        plain,
        "the log of a build that has ended is not compressed",
        "compress it",
        fix,
    );
}

fn attempt_of(build: BuildId, plain: &Path) -> Option<AttemptId> {
    let attempt: Attempt = plain.file_stem()?.to_str()?.parse().ok()?;
    Some(attempt_id(build, attempt))
}
