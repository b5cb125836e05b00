//! A small, bootable distribution like Enterprise Linux 9, made from Debian packages and laid out as an install medium.
//!
//! There is no such distribution to be had for a test, so it is made, once a machine: [`medium`] gives it, out of a cache
//! outside the checkout. What it consists of is data (`data/`), how it is made is in `make/`. dnf, rpm, dracut, systemd
//! and the kernel in it are the real ones; only packaging and scriptlets are ours. Tests never edit it: they lay it into
//! an install root of their own ([`Medium::lay_into`]), and read versions from it ([`Medium::package`]).

mod cache;
mod kits;
mod lay;
mod make;
mod medium;

use std::sync::OnceLock;

pub use kits::{KitLists, add_kit_component};
pub use medium::{Medium, Package};

/// The medium for this machine's architecture, made if nobody has made it yet.
pub fn medium() -> &'static Medium {
    static MEDIUM: OnceLock<Medium> = OnceLock::new();
    MEDIUM.get_or_init(|| cache::open(crate::arch()))
}
