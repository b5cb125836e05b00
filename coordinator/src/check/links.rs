//! The links that a rootimgdir serves: `current` to a generation that is there, the others through it.

use std::path::Path;

use super::{Area, Look};
use crate::chain::chain;
use crate::generation::layout::CURRENT;
use crate::generation::links::{Astray, astray};
use crate::generation::{Number, RootimgDir, settle, switch};

pub(super) fn check(look: &mut Look<'_>) {
    for path in look.rootimgdirs() {
        let Ok(Some(dir)) = RootimgDir::find(&path, &look.config.install_dir) else { continue };
        let current = dir.path().join(CURRENT);
        match dir.live() {
            Err(error) => look.report.error(Area::Links, &current, chain(&error), "move it away, then check again"),
            Ok(Some(live)) if dir.existing(live).is_ok() => served(look, &dir, live),
            Ok(live) => nothing_live(look, &dir, &current, live),
        }
    }
}

fn nothing_live(look: &mut Look<'_>, dir: &RootimgDir, current: &Path, live: Option<Number>) {
    let numbers = dir.numbers().unwrap_or_default();
    let what = match live {
        Some(live) => format!("points to generation {live}, which is not there"),
        // Nothing of ours yet.
        None if numbers.is_empty() => return,
        None => "is not there, so that nothing is served".to_owned(),
    };
    if numbers.is_empty() {
        return look.report.error(Area::Links, current, what, "genimage makes a generation");
    }
    let fix = || settle(dir).map(|_| ()).map_err(Into::into);
    look.report.repairable(
        Area::Links,
        current,
        what,
        "put the newest packed generation live, or else the newest",
        fix,
    );
}

/// Through `current` nodes must get what the live generation holds, all of it and nothing else.
fn served(look: &mut Look<'_>, dir: &RootimgDir, live: Number) {
    let found = match astray(dir, live) {
        Ok(found) => found,
        Err(error) => return look.report.error(Area::Links, dir.path(), chain(&error), "look at the disk"),
    };
    let foreign = found.iter().any(|one| matches!(one, Astray::Foreign(_)));
    for one in found {
        let (name, what) = match &one {
            Astray::Missing(name) => (name, "the live generation has it, and there is no link to it"),
            Astray::Dangling(name) => (name, "a link to what the live generation doesn't have"),
            Astray::Foreign(name) => (name, "no link of ours: nodes get this, not what the live generation has"),
        };
        let path = dir.path().join(name);
        if foreign {
            let next = match one {
                Astray::Foreign(_) => "somebody, perhaps xCAT, put it there: move it away, then check again",
                _ => "see what is in the way in the same folder",
            };
            look.report.error(Area::Links, &path, what, next);
            continue;
        }
        let fix = || switch(dir, live).map(|_| ()).map_err(Into::into);
        look.report.repairable(Area::Links, &path, what, "put the live generation's links right", fix);
    }
    look.report.ok(Area::Links, dir.path(), format!("generation {live} is live"));
}
