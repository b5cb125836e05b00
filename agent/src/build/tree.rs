//! Stage `packages` of `--onlyinitrd`: the tree that the image has already, unpacked instead of installed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;

use model::plan::PackageSystem;
use rootfs::compress::zstd_reader;
use rootfs::unpack::{UnpackOptions, unpack};

use super::Outcome;
use super::context::{Context, State};
use super::dnfroot;
use super::failure::{StageError, chain};
use super::root::installed;
use crate::worker::report::StageLog;

/// Unpacks what the agent has fetched.
pub fn run(context: &Context<'_>, _state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    let archive = context.order.tree.as_deref();
    let archive = archive.ok_or_else(|| StageError::node("the tree was never fetched", "update the agent"))?;
    DirBuilder::new().mode(0o755).create(&context.root).map_err(StageError::file("make", &context.root))?;
    let file = File::open(archive).map_err(StageError::file("read", archive))?;
    let stream = zstd_reader(Moving { from: file, log }).map_err(StageError::file("read", archive))?;
    let unpacked = unpack(stream, &context.root, UnpackOptions::default()).map_err(|error| {
        let cause = format!("cannot unpack the tree of the image: {}", chain(&error));
        StageError::node(cause, "see that the scratch disk has room, and takes extended attributes")
    })?;
    fs::remove_file(archive).map_err(StageError::file("remove", archive))?;
    if let PackageSystem::Dnf { .. } = context.plan.packages {
        dnfroot::find_database(context, log)?;
    }
    let (names, packages) = (unpacked.manifest.entries.len(), installed(context)?.len());
    log.say(format!("{names} names of the image's tree as it was; {packages} packages are installed"));
    Ok(Outcome::Done)
}

/// Tells with every byte that there is work going on; there are no lines while a tree is unpacked.
struct Moving<'a> {
    from: File,
    log: &'a StageLog<'a>,
}

impl Read for Moving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.log.moves();
        self.from.read(buffer)
    }
}
