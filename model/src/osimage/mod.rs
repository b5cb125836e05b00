//! The osimage: a named definition with xCAT's attribute names (XCAT.md 1).
//!
//! [`attribute`] says which attributes there are and what each may hold, [`repository`] is the grammar of one entry
//! of `pkgdir` and `otherpkgdir`, and [`definition`] is the object itself with the changes that are made to it.

pub mod attribute;
mod check;
pub mod definition;
pub mod repository;

pub use attribute::{Attribute, Kind};
pub(crate) use check::is_variable_name;
pub use definition::{AttributeChange, Osimage};
pub use repository::{Location, RepositoryEntry};
