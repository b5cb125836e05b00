//! Trees and archives: what both daemons need to take a root image apart and put it together.
//!
//! The agent streams its finished tree with [`tar::write_tar`]; the coordinator takes it in with
//! [`unpack::unpack`], asks [`edits::edits`] what an administrator changed since, and makes the boot
//! artefact with [`pack::pack`]. [`remove::remove_tree`] is the only way to delete a tree.
//!
//! Everything here is synchronous and belongs on a blocking thread. Nothing here knows of osimages, of the
//! network or of the clock. Reading xattrs needs `/proc` mounted.

pub mod capability;
pub mod compress;
pub mod cpio;
pub mod digest;
pub mod edits;
pub mod entry;
pub mod escape;
pub mod filter;
pub mod gzip;
pub mod manifest;
pub mod pack;
pub mod path;
pub mod remove;
pub mod tar;
pub mod unpack;
pub mod walk;

mod beneath;
mod mounts;
mod replace;
mod xattr;
