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

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

pub use cache::folder as cache_folder;
pub use kits::{KitLists, add_kit_component};
pub use medium::{Medium, Package};

/// The medium for this machine's architecture, made if nobody has made it yet.
pub fn medium() -> &'static Medium {
    medium_of(crate::arch())
}

/// The medium for an architecture, such as `ppc64le`, made if nobody has made it yet: nothing of it runs meanwhile.
pub fn medium_of(arch: &str) -> &'static Medium {
    static MEDIA: Mutex<BTreeMap<String, &'static Medium>> = Mutex::new(BTreeMap::new());
    // Who panicked making one has left nothing half done here.
    let mut media = MEDIA.lock().unwrap_or_else(PoisonError::into_inner);
    media.entry(arch.to_owned()).or_insert_with_key(|arch| Box::leak(Box::new(cache::open(arch))))
}
