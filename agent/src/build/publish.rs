//! Stage `publish`: the finished tree leaves as one compressed archive, written in one pass.

mod write_behind;

use std::fs::File;
use std::io::{self, Write};

use model::emulation::SLOWER;
use model::wish::GenimageWish;
use rootfs::compress::{Compression, Compressor, ZstdLevel};
use rootfs::digest::{Digest, HashingWriter};
use rootfs::tar::write_tar;
use serde::Serialize;
use write_behind::WriteBehind;

use super::Outcome;
use super::context::{Context, MadeInitrd, State};
use super::failure::{StageError, chain};
use super::place::Place;
use super::root::installed;
use crate::inspect::Facts;
use crate::pkg::Installed;
use crate::sys::mount::unmount_below;
use crate::sys::probe::human;
use crate::worker::report::{Product, StageLog};

/// The record that stands beside the tree: from what, where and with what it was made.
#[derive(Debug, Serialize)]
struct BuildRecord<'a> {
    version: u32,
    attempt: String,
    osimage: String,
    revision: u64,
    osvers: &'a str,
    osarch: &'a str,
    profile: &'a str,
    provmethod: &'a str,
    kernel_version: &'a str,
    wish: &'a GenimageWish,
    initrds: &'a [MadeInitrd],
    warnings: &'a [String],
    /// Where the image's programs were emulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    emulation: Option<Emulation<'a>>,
    agent: &'a Facts,
    packages: Vec<Installed>,
}

/// How the image was built for an architecture that the node's processor hasn't.
#[derive(Debug, Serialize)]
struct Emulation<'a> {
    /// The processor's architecture.
    on: &'a str,
    /// How much longer programs take so.
    slower: &'a str,
}

/// Writes the archive.
pub fn run(context: &Context<'_>, state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    for point in unmount_below(&context.root)? {
        log.say(format!("unmounted `{}`: an archive holds no mounts", point.display()));
    }
    let packages = installed(context)?;
    let count = u32::try_from(packages.len()).unwrap_or(u32::MAX);
    record(context, state, packages)?;
    let file = state.archive.take().ok_or_else(|| StageError::node("the archive's file was never opened", ""))?;
    let (digest, bytes) = write(context, file, log)?;
    log.say(format!("archive of {} with {digest}", human(bytes)));
    let archive = context.order.archive.clone();
    let kernel_version = state.kernel.clone();
    let initrds = state.initrds.iter().map(|made| made.report.clone()).collect();
    let warnings = std::mem::take(&mut state.warnings);
    state.product = Some(Product { archive, digest, bytes, kernel_version, packages: count, initrds, warnings });
    Ok(Outcome::Done)
}

/// Tells with every byte that the archive grows; there are no lines while it does.
struct Moving<'a, W> {
    to: W,
    log: &'a StageLog<'a>,
}

impl<W: Write> Write for Moving<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.log.moves();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn record(context: &Context<'_>, state: &State, packages: Vec<Installed>) -> Result<(), StageError> {
    let plan = context.plan;
    let record = BuildRecord {
        version: 1,
        attempt: context.order.attempt.to_string(),
        osimage: plan.osimage.to_string(),
        revision: plan.revision,
        osvers: &plan.osvers,
        osarch: &plan.osarch,
        profile: &plan.profile,
        provmethod: &plan.provmethod,
        kernel_version: &state.kernel,
        wish: &plan.wish,
        initrds: &state.initrds,
        warnings: &state.warnings,
        emulation: state.emulated_on.as_deref().map(|on| Emulation { on, slower: SLOWER }),
        agent: &context.order.facts,
        packages,
    };
    let text = serde_json::to_string_pretty(&record).map_err(|error| StageError::node(error.to_string(), ""))?;
    Place::new(&context.out).write("build.json", &(text + "\n"), 0o644)
}

fn write(context: &Context<'_>, file: File, log: &StageLog<'_>) -> Result<(Digest, u64), StageError> {
    let archive = &context.order.archive;
    let failed = || StageError::file("write the archive", archive);
    let out = HashingWriter::new(WriteBehind::new(file, log).map_err(failed())?);
    let mut packed =
        Compressor::new(out, Compression::Zstd(ZstdLevel::default()), context.threads()).map_err(failed())?;
    let totals = write_tar(&context.out, &mut Moving { to: &mut packed, log }).map_err(|error| {
        StageError::node(
            format!("cannot write the archive `{}`: {}", archive.display(), chain(&error)),
            "see that the disk it goes to has room",
        )
    })?;
    log.say(format!("{} names, {} of content", totals.entries, human(totals.content_bytes)));
    let (out, digest, bytes) = packed.finish().map_err(failed())?.finish();
    out.finish().map_err(failed())?;
    Ok((digest, bytes))
}
