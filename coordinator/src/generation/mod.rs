//! The generations of a rootimgdir on disk: their folders, their links, what is kept of them.
//!
//! [`layout`] says what lies where, [`links`] puts a generation live ([`activate`]: because somebody wants it), [`adopt`] takes over what xCAT left,
//! [`retain`] removes the old ones. `receive` and `packimage` make generations with it; nothing here knows of builds
//! or of the store. Callers see to it that one of them at a time works on a rootimgdir.

pub mod activate;
pub mod adopt;
pub mod atomic;
pub mod diff;
pub mod intact;
pub mod layout;
pub mod links;
pub mod local_edits;
pub mod retain;

pub use activate::{ActivateError, activate};
pub use adopt::{AdoptError, Adopted, adopt};
pub use layout::{LayoutError, Number, RootimgDir};
pub use links::{LinkError, Switched, settle, switch};
pub use local_edits::{Carried, EditsError, carry_edits, local_edits};
pub use retain::{RetainError, Retained, retain, sweep};
