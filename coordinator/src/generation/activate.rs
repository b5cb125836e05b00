//! [`activate`]: another packed generation goes live because an administrator wants it, as after a bad image.
//!
//! It stays live until the next packimage, and is kept as long as it is live.

use std::sync::atomic::{AtomicBool, Ordering};

use model::build::Artefact;

use super::intact::{Look, wrong_unless_stopped};
use super::layout::{LayoutError, Number, RootimgDir, TREE};
use super::links::{LinkError, Switched, switch};

/// Why a generation didn't go live; the one before it still is.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// Nodes could not boot it.
    #[error(
        "generation {0} is not packed, so there is nothing in it that nodes could boot; `imgctl packimage` packs the newest one"
    )]
    Unpacked(Number),
    /// It isn't what was made.
    #[error("generation {number} is not whole: `{}`: {what}; choose another", path.display())]
    Broken {
        /// Which generation.
        number: Number,
        /// What of it.
        path: std::path::PathBuf,
        /// In which way.
        what: String,
    },
    /// The caller wanted it ended.
    #[error("generation {0} was not put live, for that was stopped before anything changed; try again")]
    Stopped(Number),
    /// The rootimgdir is not as it should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The links can't be switched.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Puts generation `to` live, of which `recorded` says what it holds; every byte of that is read first. Nobody may
/// receive, pack or prune there meanwhile. The flag is looked at until the switch begins, which is one rename.
pub fn activate(
    dir: &RootimgDir,
    to: Number,
    recorded: &[Artefact],
    stop: &AtomicBool,
) -> Result<Switched, ActivateError> {
    let folder = dir.existing(to)?;
    if !dir.is_packed(to) {
        return Err(ActivateError::Unpacked(to));
    }
    let stopped = || if stop.load(Ordering::Relaxed) { Err(ActivateError::Stopped(to)) } else { Ok(()) };
    for artefact in recorded.iter().filter(|artefact| artefact.name != TREE) {
        let path = folder.join(&artefact.name);
        let wrong = wrong_unless_stopped(&path, artefact, Look::Digest, stop);
        stopped()?;
        if let Some(what) = wrong {
            return Err(ActivateError::Broken { number: to, path, what });
        }
    }
    stopped()?;
    Ok(switch(dir, to)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use model::id::Generation;
    use rootfs::digest::Digest;

    fn number(number: u32) -> Number {
        Generation::new(number).map_or(Number::XCAT, Into::into)
    }

    #[test]
    fn only_a_packed_generation_that_is_whole_goes_live() {
        let site = tempfile::tempdir().unwrap();
        let dir = RootimgDir::open(&site.path().join("r"), site.path()).unwrap();
        for (generation, names) in
            [(0, ["kernel", "rootimg.gz"]), (1, ["kernel", "rootimg.cpio.gz"]), (2, ["kernel", "x"])]
        {
            let folder = dir.generation(number(generation));
            fs::create_dir_all(&folder).unwrap();
            names.iter().for_each(|name| fs::write(folder.join(name), "four").unwrap());
        }
        let kernel = |bytes, digest: Option<&[u8]>| {
            let (name, path) = ("kernel".to_owned(), dir.path().join("kernel"));
            let digest = digest.map(|content| Digest::of(content).to_string());
            [Artefact { name, path, bytes, digest }]
        };
        let activate = |to, recorded: &[Artefact]| activate(&dir, number(to), recorded, &AtomicBool::new(false));
        let switched = activate(1, &kernel(4, Some(b"four"))).unwrap();
        assert_eq!((switched.from, switched.to), (None, number(1)));
        assert!(matches!(activate(2, &[]), Err(ActivateError::Unpacked(_))));
        assert!(matches!(activate(9, &[]), Err(ActivateError::Layout(_))));
        assert!(matches!(activate(0, &kernel(5, None)), Err(ActivateError::Broken { .. })));
        // Of the right size, with other bytes.
        let said = activate(0, &kernel(4, Some(b"five"))).unwrap_err().to_string();
        assert!(said.starts_with("generation 0 is not whole: `") && said.contains("kernel`: the artefact has digest"));
        // Its caller has gone, or the coordinator is stopping.
        for recorded in [&kernel(4, Some(b"four"))[..], &[]] {
            let stopped = super::activate(&dir, number(0), recorded, &AtomicBool::new(true));
            assert!(matches!(stopped, Err(ActivateError::Stopped(_))), "{stopped:?}");
        }
        assert_eq!(dir.live().unwrap(), Some(number(1)), "a refusal changes nothing");
        assert_eq!(activate(0, &[]).unwrap().from, Some(number(1)), "what xCAT left can go live again");
        assert_eq!(dir.live().unwrap(), Some(number(0)));
    }
}
