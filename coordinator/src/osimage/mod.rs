//! From a definition and the files on the management node to a build plan, or every problem at once.
//!
//! [`resolve`] is called when a build is submitted, by `resolve` and by `lint`; it reads files below bounds and
//! changes nothing. [`search`] finds default files for a profile (XCAT.md 2.5) and [`fill`] makes a definition of them. The other files are one step of
//! the resolver each; what they find out gathers in `Notes`. `index` reads what local repositories hold.

mod apt_tree;
mod driver_sources;
mod drivers;
mod files;
mod fill;
mod holdings;
mod index;
mod kernel;
mod kits;
mod lists;
mod mandatory;
mod notes;
mod otherpkgs;
mod pack;
mod release;
mod repositories;
mod resolve;
mod rootimgdir;
mod rpm_repositories;
mod rpm_signature;
mod rpm_tree;
mod scripts;
pub mod search;
mod target;

pub use fill::{Profile, fill};
pub use index::Indexes;
pub use pack::PackPlan;
pub use release::{Release, System, UnknownRelease};
pub use resolve::{Resolved, Site, resolve, resolve_with};
pub use search::{DefaultFile, default_files};
