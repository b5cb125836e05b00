//! Who may read the state folder and the keys in it, and whether there is room for more.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Area, Look};
use crate::pki::{CA_KEY, SERVER_DIR};
use crate::room;

pub(super) fn check(look: &mut Look<'_>) {
    let state = look.config.state_dir.clone();
    let pki = look.config.pki_dir();
    let keys = [pki.join(CA_KEY), pki.join(SERVER_DIR).join("key.pem")];
    let private = [(state.clone(), 0o700), (pki, 0o700)].into_iter().chain(keys.map(|key| (key, 0o600)));
    let wrong: Vec<(PathBuf, u32)> = private.filter(|(path, mode)| is_open(path, *mode)).collect();
    for (path, mode) in wrong {
        let what = format!("others than root may read it; its mode should be {mode:04o}");
        let fix = || Ok(fs::set_permissions(&path, Permissions::from_mode(mode))?);
        look.report.repairable(Area::State, &path, what, "close it", fix);
    }
    if room::free_at(&state) < room::FOR_LOGS {
        let next = "make room there; until then no build is taken on and logs wait";
        look.report.error(Area::State, &state, "its disk is full", next);
    }
}

/// Whether more is allowed than should be; what isn't there is looked at elsewhere.
fn is_open(path: &Path, mode: u32) -> bool {
    path.metadata().is_ok_and(|found| found.permissions().mode() & 0o7777 & !mode != 0)
}
