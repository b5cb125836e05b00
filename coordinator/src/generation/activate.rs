//! [`activate`]: another packed generation goes live because an administrator wants it, as after a bad image.
//!
//! It stays live until the next packimage, and is kept as long as it is live.

use model::build::Artefact;

use super::intact::{Look, wrong};
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
    /// The rootimgdir is not as it should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The links can't be switched.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Puts generation `to` live, of which `recorded` says what it holds. Nobody may receive, pack or prune there meanwhile.
pub fn activate(dir: &RootimgDir, to: Number, recorded: &[Artefact]) -> Result<Switched, ActivateError> {
    let folder = dir.existing(to)?;
    if !dir.is_packed(to) {
        return Err(ActivateError::Unpacked(to));
    }
    for artefact in recorded.iter().filter(|artefact| artefact.name != TREE) {
        let path = folder.join(&artefact.name);
        if let Some(what) = wrong(&path, artefact, Look::Size) {
            return Err(ActivateError::Broken { number: to, path, what });
        }
    }
    Ok(switch(dir, to)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use model::id::Generation;

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
        let kernel = |bytes| {
            let (name, path) = ("kernel".to_owned(), dir.path().join("kernel"));
            [Artefact { name, path, bytes, digest: None }]
        };
        let switched = activate(&dir, number(1), &kernel(4)).unwrap();
        assert_eq!((switched.from, switched.to), (None, number(1)));
        assert!(matches!(activate(&dir, number(2), &[]), Err(ActivateError::Unpacked(_))));
        assert!(matches!(activate(&dir, number(9), &[]), Err(ActivateError::Layout(_))));
        assert!(matches!(activate(&dir, number(0), &kernel(5)), Err(ActivateError::Broken { .. })));
        assert_eq!(dir.live().unwrap(), Some(number(1)), "a refusal changes nothing");
        assert_eq!(activate(&dir, number(0), &[]).unwrap().from, Some(number(1)), "what xCAT left can go live again");
        assert_eq!(dir.live().unwrap(), Some(number(0)));
    }
}
