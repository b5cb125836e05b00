//! packimage: the tree of a generation into the archive that nodes boot, and that generation live.
//!
//! The tree is read, never written: image info, root's password and synclist files are put into the archive only. A
//! generation that is sealed already is packed as the next one, which shares its tree. Until the archive is complete
//! and checked nothing that nodes see changes.

pub mod format;
mod image_info;
mod in_image;
mod recorded;
mod seal;
mod shadow;
mod synclist;
mod verify;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use model::build::Artefact;
use model::name::ImageName;
use model::problem::Problem;
use model::synclist::CopyLine;
use rootfs::entry::Stamp;
use rootfs::filter::Filter;
use rootfs::pack::{Overlay, PackRecipe, PackReport};
use rootfs::path::TreePath;
use uuid::Uuid;

use crate::generation::atomic::FileError;
use crate::generation::layout::TREE;
use crate::generation::{LayoutError, LinkError, Number, RootimgDir, Switched, adopt, switch};

pub use self::format::{Format, FormatError};
use self::in_image::InImage;
pub use self::recorded::RecordedError;
pub use self::verify::VerifyError;

/// What to pack, all lists read.
#[derive(Debug, Clone)]
pub struct PackOrder {
    /// The osimage's name, for image info.
    pub osimage: ImageName,
    /// Patterns of what is left out, those that always are among them ([`model::exlist::read`]).
    pub excludes: Vec<String>,
    /// Patterns of what is packed all the same.
    pub includes: Vec<String>,
    /// What synclists copy into the image; empty for `--nosyncfiles`.
    pub copies: Vec<CopyLine>,
    /// Method and compression.
    pub format: Format,
    /// Hash of root's password; without it root is locked.
    pub root_hash: Option<String>,
    /// What the generation's record says that it holds.
    pub recorded: Vec<Artefact>,
    /// Threads to compress with.
    pub threads: NonZeroUsize,
}

/// What was packed.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The generation that holds the archive, and is live now.
    pub generation: Number,
    /// The generation whose tree it shares, if the one that was asked for was sealed.
    pub tree_of: Option<Number>,
    /// All that it holds for nodes: the boot files that it has, and the archive last.
    pub artefacts: Vec<Artefact>,
    /// The image's new UUID.
    pub uuid: Uuid,
    /// What switching to it did.
    pub switched: Switched,
    /// What the packer has to say.
    pub report: PackReport,
}

/// Why nothing was packed; what was served before still is.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Synclist lines that can't be carried out, all of them.
    #[error("cannot carry out the synclist: {}", lines(.problems))]
    Synclist {
        /// Each with its `file:line`.
        problems: Vec<Problem>,
    },
    /// Something that goes into the archive can't be made.
    #[error("cannot prepare `{path}` for the archive")]
    Overlay {
        /// Its place in the image.
        path: TreePath,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What a build made is not there any more, or not as it was.
    #[error(transparent)]
    Recorded(#[from] RecordedError),
    /// The packer stopped.
    #[error(transparent)]
    Pack(#[from] rootfs::pack::PackError),
    /// What was written doesn't read back as it should.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The caller wanted it ended.
    #[error("packing was cancelled")]
    Cancelled,
    /// What xCAT left can't be taken over.
    #[error(transparent)]
    Adopt(#[from] crate::generation::AdoptError),
    /// The rootimgdir is not as it should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The archive is there but its generation didn't go live.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// Packs generation `number` and puts it live. The flag is looked at before and after the archive is written.
pub fn pack(order: &PackOrder, dir: &RootimgDir, number: Number, cancel: &AtomicBool) -> Result<Packed, PackError> {
    adopt(dir)?;
    let owner = dir.tree_owner(number)?;
    recorded::verify(dir, number, &order.recorded)?;
    let tree = dir.generation(owner).join(TREE);
    let uuid = Uuid::new_v4();
    let overlays = overlays(order, &InImage::new(&tree), uuid)?;
    let recipe = PackRecipe {
        method: order.format.method,
        compression: order.format.compression,
        threads: order.threads,
        filter: Filter::new(order.excludes.iter().cloned(), order.includes.iter().cloned()),
        overlays: overlays.into_values().collect(),
        xattr_list: true,
    };
    let place = seal::Place::prepare(dir, number, owner, order.format)?;
    let packed = write(&recipe, &tree, &place, cancel);
    let (generation, report) = match packed.and_then(|report| Ok((place.seal(dir)?, report))) {
        Ok(sealed) => sealed,
        Err(error) => {
            place.give_up();
            return Err(error);
        }
    };
    let switched = switch(dir, generation)?;
    let artefacts = seal::artefacts(&dir.generation(generation), order.format, &report)?;
    let tree_of = (generation != owner).then_some(owner);
    Ok(Packed { generation, tree_of, artefacts, uuid, switched, report })
}

fn write(
    recipe: &PackRecipe,
    tree: &std::path::Path,
    place: &seal::Place,
    cancel: &AtomicBool,
) -> Result<PackReport, PackError> {
    let cancelled = || if cancel.load(Ordering::Relaxed) { Err(PackError::Cancelled) } else { Ok(()) };
    cancelled()?;
    let report = rootfs::pack::pack(tree, place.archive(), recipe)?;
    verify::verify(place.archive(), recipe.compression, &report)?;
    cancelled()?;
    Ok(report)
}

/// What goes into the archive beside the tree, by place in the image. Later ones win, as each of xCAT's steps wrote
/// over the ones before: a synclist may bring an `/etc/shadow` of its own.
fn overlays(order: &PackOrder, image: &InImage, uuid: Uuid) -> Result<BTreeMap<TreePath, Overlay>, PackError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Stamp(i64::try_from(now.as_secs()).unwrap_or_default(), now.subsec_nanos());
    let mut overlays = BTreeMap::new();
    let mut put = |overlay: Overlay| overlays.insert(overlay.path.clone(), overlay);
    put(image_info::overlay(image, &order.osimage, uuid, now));
    put(shadow::overlay(image, order.root_hash.as_deref(), now)?);
    let copies = synclist::overlays(image, &order.copies).map_err(|problems| PackError::Synclist { problems })?;
    overlays.extend(copies);
    Ok(overlays)
}

#[cfg(test)]
mod tests;
