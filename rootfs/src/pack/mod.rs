//! [`pack`]: a root tree into the archive that nodes boot, without changing the tree.
//!
//! One walk decides what goes in ([`plan`]); then content is read in that order, compressed on all cores, hashed, and
//! written beside the old archive, which one rename replaces. Whatever fails, the old archive stands and nothing
//! else is left. The bytes depend on tree and recipe only, not on cores or on when it ran.
//!
//! ## The xattr list
//!
//! cpio has no place for capabilities, ACLs and labels, so the archive can carry a list of them, at
//! [`XATTR_LIST`], that our initrd applies when it has unpacked: after a comment line that begins with `#`, one line
//! for each attribute: path from `/`, name, value, separated by single blanks. Path and name are escaped for
//! `printf %b`, with `\x20` for a blank; the value is `0x` and hexadecimal digits, as `setfattr -v` takes it. Only one
//! name of a hard-linked file is listed.

mod overlay;
mod plan;
mod write;

use std::fmt::Write as _;
use std::io::{self, BufWriter};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use self::overlay::{Overlay, OverlayContent, OverlayError};
use self::overlay::{Placed, resolve};
use self::plan::{Item, Plan};
use crate::beneath::Beneath;
use crate::compress::{Compression, Compressor};
use crate::cpio::FILE_LIMIT;
use crate::digest::{Digest, HashingWriter};
use crate::entry::{Attributes, Stamp};
use crate::escape::{Blanks, escape};
use crate::filter::{Filter, Rule};
use crate::path::TreePath;
use crate::replace::Replacement;
use crate::walk::{Note, Walk, WalkError};

/// Where the list of what cpio can not carry stands in the image.
pub const XATTR_LIST: &str = "/.imgctl/xattrs";

/// The format of the archive under the compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackMethod {
    /// `newc`, an initramfs. tar and squashfs take their place here.
    #[default]
    Cpio,
}

/// How to pack a tree.
#[derive(Debug, Clone)]
pub struct PackRecipe {
    /// Format.
    pub method: PackMethod,
    /// Compression.
    pub compression: Compression,
    /// Compressing threads; the archive does not depend on their number.
    pub threads: NonZeroUsize,
    /// The exlist.
    pub filter: Filter,
    /// What to put in.
    pub overlays: Vec<Overlay>,
    /// Whether to put in [`XATTR_LIST`].
    pub xattr_list: bool,
}

/// What was packed.
#[derive(Debug, Clone)]
pub struct PackReport {
    /// Length of the archive before compression.
    pub bytes_in: u64,
    /// Length of the file.
    pub bytes_out: u64,
    /// Of the file.
    pub digest: Digest,
    /// Entries in the archive.
    pub entries: u64,
    /// Entries that are a further name of another.
    pub hard_links: u64,
    /// Entries of the tree that the exlist removed.
    pub excluded: u64,
    /// The excludes, with how many entries each removed.
    pub rules: Vec<Rule>,
    /// Entries with xattrs, and the names of these.
    pub xattrs: Vec<(TreePath, Vec<Vec<u8>>)>,
    /// What the walk left out.
    pub notes: Vec<Note>,
}

/// Why there is no new archive. The old one, if there was one, stands.
#[derive(Debug, Error)]
pub enum PackError {
    /// The tree can not be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// An overlay has no place.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// The format can not hold a file.
    #[error("`{path}` has {size} bytes, and a cpio archive cannot hold a file of 4 GiB or more: exclude it")]
    TooLarge {
        /// The file.
        path: TreePath,
        /// Its length.
        size: u64,
    },
    /// A file's content can not be read.
    #[error("cannot read `{path}` for the archive")]
    Read {
        /// The file in the tree.
        path: TreePath,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The source of an overlay can not be read.
    #[error("cannot read `{}` for overlay `{path}`", source_file.display())]
    Source {
        /// The overlay.
        path: TreePath,
        /// Its source.
        source_file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file became shorter while it was read.
    #[error("`{path}` changed while it was packed")]
    Changed {
        /// The file.
        path: TreePath,
    },
    /// The archive can not be written.
    #[error("cannot write `{}`", path.display())]
    Output {
        /// The archive.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The name that boot servers expect for an archive of this kind.
pub fn archive_name(method: PackMethod, compression: Compression) -> String {
    let method = match method {
        PackMethod::Cpio => "cpio",
    };
    format!("rootimg.{method}{}", compression.extension())
}

/// Packs the tree at `root` into the file `out`, mode 0644.
pub fn pack(root: &Path, out: &Path, recipe: &PackRecipe) -> Result<PackReport, PackError> {
    let mut filter = recipe.filter.clone();
    let unreadable = |source: rustix::io::Errno| WalkError::Root { path: root.to_owned(), source: source.into() };
    let mut tree = Beneath::open(root).map_err(unreadable)?;
    let plan = prepare(root, &mut tree, &mut filter, recipe)?;
    tree.forget();

    let failed = |source| PackError::Output { path: out.to_owned(), source };
    let file = Replacement::new(out).map_err(failed)?;
    let stream = BufWriter::with_capacity(256 * 1024, HashingWriter::new(file));
    let stream = Compressor::new(stream, recipe.compression, recipe.threads).map_err(failed)?;
    let written = match recipe.method {
        PackMethod::Cpio => write::cpio(&plan, &mut tree, stream, out)?,
    };
    let stream = written.stream.finish().map_err(failed)?;
    let stream = stream.into_inner().map_err(|error| failed(error.into_error()))?;
    let (file, digest, bytes_out) = stream.finish();
    file.commit(0o644).map_err(failed)?;
    Ok(PackReport {
        bytes_in: written.bytes,
        bytes_out,
        digest,
        entries: plan.items.len() as u64,
        hard_links: plan.links.values().map(|names| u64::from(names - 1)).sum(),
        excluded: plan.excluded,
        rules: filter.excludes().to_vec(),
        xattrs: plan.with_xattrs().map(|entry| (entry.path.clone(), names_of(entry))).collect(),
        notes: plan.notes,
    })
}

fn names_of(entry: &crate::entry::Entry) -> Vec<Vec<u8>> {
    entry.xattrs.iter().map(|xattr| xattr.name.clone()).collect()
}

/// Everything that can be decided, and refused, before anything is written.
fn prepare(root: &Path, tree: &mut Beneath, filter: &mut Filter, recipe: &PackRecipe) -> Result<Plan, PackError> {
    let list_place = match recipe.xattr_list {
        true => Some(resolve(tree, &TreePath::in_image(XATTR_LIST).map_err(OverlayError::from)?)?),
        false => None,
    };
    let mut overlays = recipe.overlays.clone();
    overlays.extend(list_place.as_ref().map(|place| xattr_list(place.clone(), String::new())));
    let placed = Placed::new(tree, &overlays)?;
    let mut walk = Walk::new(root)?;
    let mut plan = plan::plan(&mut walk, filter, placed)?;
    if let Some(place) = list_place {
        let list = xattr_list(place.clone(), listed(&plan));
        plan.items.insert(place, Item::Overlay(list));
    }
    match plan.too_large(FILE_LIMIT) {
        Some(entry) => Err(PackError::TooLarge { path: entry.path.clone(), size: entry.size }),
        None => Ok(plan),
    }
}

fn xattr_list(path: TreePath, list: String) -> Overlay {
    // Only root reads it: names of labels and capabilities are an attacker's shopping list.
    let attributes = Attributes { mode: 0o600, uid: 0, gid: 0, mtime: Stamp(0, 0) };
    Overlay { path, content: OverlayContent::Bytes(list.into_bytes()), attributes }
}

fn listed(plan: &Plan) -> String {
    let mut list = String::from("# imgctl xattrs 1: path name value\n");
    for entry in plan.with_xattrs() {
        let path = escape(entry.path.as_bytes(), Blanks::Escape);
        for xattr in &entry.xattrs {
            let (name, value) = (escape(&xattr.name, Blanks::Escape), hex::encode(&xattr.value));
            writeln!(list, "/{path} {name} 0x{value}").expect("writing to a string does not fail");
        }
    }
    list
}
