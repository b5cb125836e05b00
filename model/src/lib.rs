//! The nouns of imgctl, without any I/O.
//!
//! An [`osimage`] (as text: a [`stanza`]) names package lists ([`pkglist`]), exclude lists ([`exlist`]) and
//! [`synclist`]s, which a [`listfile`] reader brings in, and, resolved, becomes a [`plan`]; what is wrong with any of
//! them is a [`problem`]. A [`wish`] is what a submission asks for beyond it. A [`build`] is one run of it: every [`stage`] of every attempt leads to a generation under
//! the numbers of [`id`]. Names, architectures and roles are checked once, when they are read ([`name`], [`arch`],
//! [`role`]).

pub mod agent;
pub mod arch;
pub mod build;
pub mod emulation;
pub mod exlist;
pub mod generation;
pub mod id;
pub mod initrd;
pub mod listfile;
pub mod name;
pub mod nearest;
pub mod osimage;
pub mod package;
pub mod pkglist;
pub mod plan;
pub mod problem;
pub mod role;
pub mod stage;
pub mod stanza;
pub mod synclist;
pub mod version;
pub mod wish;
