//! What `imgctl-coordinator` does without being a daemon: `pack-tree`, and the hidden `unpack`.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use model::problem::Problem;
use rootfs::filter::Filter;
use rootfs::pack::{PackRecipe, PackReport, pack};

use crate::packimage::{Format, FormatError};

pub use crate::receive::unpack_here as unpack;

/// What to pack, from the command line.
#[derive(Debug, Clone)]
pub struct PackTree {
    /// The tree.
    pub root: PathBuf,
    /// The archive to be; what is there is replaced when the new one is complete.
    pub out: PathBuf,
    /// `--method`; empty: cpio.
    pub method: String,
    /// `--compress`; empty: gzip.
    pub compress: String,
    /// Each `--exlist`.
    pub exlists: Vec<PathBuf>,
    /// `--threads`; none: one for each processor.
    pub threads: Option<NonZeroUsize>,
}

/// Why no archive was made.
#[derive(Debug, thiserror::Error)]
pub enum PackTreeError {
    /// A name that nothing is known by.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Exlists that can't be used.
    #[error("cannot use the exlist: {}", problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "))]
    Exlist {
        /// All that is wrong.
        problems: Vec<Problem>,
    },
    /// The archive would become part of itself.
    #[error("`{}` is inside the tree that it would be an archive of; write it elsewhere", out.display())]
    Inside {
        /// The archive.
        out: PathBuf,
    },
    /// The packer stopped.
    #[error(transparent)]
    Pack(#[from] rootfs::pack::PackError),
}

/// Packs a tree as it is: exlists apply, nothing is put in. Gives the exlists' warnings too.
pub fn pack_tree(order: &PackTree) -> Result<(PackReport, Vec<Problem>), PackTreeError> {
    let format = Format::parse(&order.method, &order.compress)?;
    if is_inside(&order.out, &order.root) {
        return Err(PackTreeError::Inside { out: order.out.clone() });
    }
    let mut read = |path: &Path| fs::read(path);
    let lists =
        model::exlist::read(&order.exlists, &mut read).map_err(|problems| PackTreeError::Exlist { problems })?;
    let patterns = |rules: &[model::exlist::Rule]| rules.iter().map(|rule| rule.pattern.clone()).collect::<Vec<_>>();
    let recipe = PackRecipe {
        method: format.method,
        compression: format.compression,
        threads: order.threads.unwrap_or_else(processors),
        filter: Filter::new(patterns(&lists.excludes), patterns(&lists.includes)),
        overlays: Vec::new(),
        xattr_list: false,
    };
    Ok((pack(&order.root, &order.out, &recipe)?, lists.warnings))
}

/// As many threads as may run at once.
fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn is_inside(out: &Path, root: &Path) -> bool {
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // What can't be resolved will be named by the packer.
    match (folder.canonicalize(), root.canonicalize()) {
        (Ok(folder), Ok(root)) => folder.starts_with(root),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
