//! The osimage: a named definition with xCAT's attribute names (XCAT.md 1).
//!
//! [`attribute`] says which attributes there are and what each may hold, [`repository`] is the grammar of one entry
//! of `pkgdir` and `otherpkgdir`, [`definition`] is the object itself and [`change`] one change of it.

pub mod attribute;
pub mod change;
mod check;
pub mod definition;
pub mod repository;
mod trust;
mod update;

pub use attribute::{Attribute, Kind};
pub use change::{AttributeChange, InvalidChange};
pub(crate) use check::is_variable_name;
pub use definition::Osimage;
pub use repository::{Location, RepositoryEntry};
pub use trust::trust_as_xcat;
pub use update::{silent_about_updates, update_as_xcat};
