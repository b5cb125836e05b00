//! Putting a generation live: `current` is switched by one rename, the other links go through it.
//!
//! Links that the new generation needs are made before the switch and dangle until then; links to archives that it
//! doesn't hold are removed after. So nodeset, which takes the first archive that it can read, finds one and only one
//! at every moment.

use std::fs;
use std::path::{Path, PathBuf};

use super::atomic::{FileError, failed, put_symlink, sync_dir};
use super::layout::{CURRENT, GENERATIONS, LayoutError, Number, RootimgDir, served};

/// Why a generation didn't go live; the one before it still is.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Somebody put a real file where a link belongs.
    #[error("`{}` is no link of ours, so nodes would go on getting it; move it away", path.display())]
    Occupied {
        /// Which name.
        path: PathBuf,
    },
    /// The rootimgdir is not as it should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What a switch did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switched {
    /// What was live before.
    pub from: Option<Number>,
    /// What is live now.
    pub to: Number,
    /// Links that were missing.
    pub made: Vec<String>,
    /// Links to what the live generation doesn't hold.
    pub removed: Vec<String>,
}

/// Puts generation `to` live.
pub fn switch(dir: &RootimgDir, to: Number) -> Result<Switched, LinkError> {
    let folder = dir.existing(to)?;
    let from = dir.live()?;
    let (held, others): (Vec<_>, Vec<_>) = served().partition(|name| folder.join(name).symlink_metadata().is_ok());
    let mut missing = Vec::new();
    for name in &held {
        match top_entry(dir, name)? {
            TopEntry::Link => {}
            TopEntry::Missing => missing.push(*name),
            TopEntry::Foreign => return Err(LinkError::Occupied { path: dir.path().join(name) }),
        }
    }
    for name in &missing {
        put_symlink(&through_current(name), &dir.path().join(name))?;
    }
    put_symlink(&Path::new(GENERATIONS).join(to.to_string()), &dir.path().join(CURRENT))?;
    let mut removed = Vec::new();
    for name in others {
        if top_entry(dir, name)? == TopEntry::Link {
            let path = dir.path().join(name);
            fs::remove_file(&path).map_err(failed("remove link", &path))?;
            removed.push(name.to_owned());
        }
    }
    sync_dir(dir.path())?;
    Ok(Switched { from, to, made: missing.into_iter().map(str::to_owned).collect(), removed })
}

/// Puts live what should be: a packed generation stays, else the newest packed one, else the newest built one.
/// `None` if nothing had to be done.
pub fn settle(dir: &RootimgDir) -> Result<Option<Switched>, LinkError> {
    let numbers = dir.numbers()?;
    let live = dir.live()?.filter(|live| numbers.contains(live));
    if live.is_some_and(|live| dir.is_packed(live)) {
        return Ok(None);
    }
    let newest_packed = numbers.iter().rev().find(|number| dir.is_packed(**number));
    match newest_packed.or(numbers.last()) {
        Some(newest) if Some(*newest) != live => switch(dir, *newest).map(Some),
        _ => Ok(None),
    }
}

/// A served name at which the wrong thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Astray {
    /// Nothing, though the live generation holds it.
    Missing(&'static str),
    /// A link of ours to what the live generation doesn't hold.
    Dangling(&'static str),
    /// Something that isn't ours.
    Foreign(&'static str),
}

/// What is served otherwise than generation `live` would have it.
pub fn astray(dir: &RootimgDir, live: Number) -> Result<Vec<Astray>, LinkError> {
    let folder = dir.existing(live)?;
    let mut found = Vec::new();
    for name in served() {
        let held = folder.join(name).symlink_metadata().is_ok();
        match top_entry(dir, name)? {
            TopEntry::Missing if held => found.push(Astray::Missing(name)),
            TopEntry::Link if !held => found.push(Astray::Dangling(name)),
            TopEntry::Foreign => found.push(Astray::Foreign(name)),
            _ => {}
        }
    }
    Ok(found)
}

/// What stands at a served name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopEntry {
    /// Nothing.
    Missing,
    /// Our link.
    Link,
    /// Something else.
    Foreign,
}

pub(super) fn top_entry(dir: &RootimgDir, name: &str) -> Result<TopEntry, FileError> {
    let path = dir.path().join(name);
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(TopEntry::Missing),
        Err(error) => Err(failed("examine", &path)(error)),
        Ok(metadata) if metadata.is_symlink() => {
            let target = fs::read_link(&path).map_err(failed("read link", &path))?;
            Ok(if target == through_current(name) { TopEntry::Link } else { TopEntry::Foreign })
        }
        Ok(_) => Ok(TopEntry::Foreign),
    }
}

/// The target of the link of a served name.
pub(super) fn through_current(name: &str) -> PathBuf {
    Path::new(CURRENT).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::Generation;

    fn number(number: u32) -> Number {
        Generation::new(number).unwrap().into()
    }

    fn site() -> (tempfile::TempDir, RootimgDir) {
        let site = tempfile::tempdir().unwrap();
        let dir = RootimgDir::open(&site.path().join("r"), site.path()).unwrap();
        (site, dir)
    }

    fn fill(dir: &RootimgDir, generation: u32, names: &[&str]) {
        let folder = dir.generation(number(generation));
        fs::create_dir_all(folder.join("rootimg")).unwrap();
        for name in names {
            fs::write(folder.join(name), generation.to_string()).unwrap();
        }
    }

    fn read(dir: &RootimgDir, name: &str) -> Option<String> {
        fs::read_to_string(dir.path().join(name)).ok()
    }

    #[test]
    fn the_links_follow_and_stale_archives_are_not_left_in_front() {
        let (_site, dir) = site();
        fill(&dir, 1, &["kernel", "rootimg.cpio.gz"]);
        fill(&dir, 2, &["kernel", "initrd-stateless.gz", "rootimg.tar.xz"]);
        assert_eq!(switch(&dir, number(1)).unwrap().made, ["kernel", "rootimg", "rootimg.cpio.gz"]);
        let switched = switch(&dir, number(2)).unwrap();
        assert_eq!((switched.from, switched.to), (Some(number(1)), number(2)));
        assert_eq!(switched.removed, ["rootimg.cpio.gz"]);
        assert_eq!(read(&dir, "kernel").unwrap(), "2");
        assert_eq!(read(&dir, "rootimg.tar.xz").unwrap(), "2");
        assert!(dir.path().join("rootimg.cpio.gz").symlink_metadata().is_err());
        switch(&dir, number(1)).unwrap();
        assert_eq!(read(&dir, "rootimg.cpio.gz").unwrap(), "1");
        assert!(dir.path().join("initrd-stateless.gz").symlink_metadata().is_err());
    }

    #[test]
    fn the_newest_built_one_is_live_only_while_none_is_packed() {
        let (_site, dir) = site();
        assert_eq!(settle(&dir).unwrap(), None);
        fill(&dir, 1, &["kernel"]);
        assert_eq!(settle(&dir).unwrap().unwrap().to, number(1));
        fill(&dir, 2, &["kernel"]);
        assert_eq!(settle(&dir).unwrap().unwrap().to, number(2));
        fill(&dir, 1, &["kernel", "rootimg.cpio.gz"]);
        assert_eq!(settle(&dir).unwrap().unwrap().to, number(1));
        fill(&dir, 3, &["kernel"]);
        assert_eq!(settle(&dir).unwrap(), None);
    }

    #[test]
    fn a_rollback_is_not_undone() {
        let (_site, dir) = site();
        fill(&dir, 1, &["rootimg.cpio.gz"]);
        fill(&dir, 2, &["rootimg.cpio.gz"]);
        switch(&dir, number(1)).unwrap();
        assert_eq!(settle(&dir).unwrap(), None);
        assert_eq!(dir.live().unwrap(), Some(number(1)));
    }

    #[test]
    fn a_reader_finds_the_image_at_every_moment() {
        let (_site, dir) = site();
        fill(&dir, 1, &["kernel", "rootimg.cpio.gz"]);
        fill(&dir, 2, &["kernel", "rootimg.cpio.gz"]);
        switch(&dir, number(1)).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    assert!(read(&dir, "rootimg.cpio.gz").is_some() && read(&dir, "kernel").is_some());
                }
            });
            let switched: Result<Vec<_>, _> = (0..1000).map(|round| switch(&dir, number(1 + round % 2))).collect();
            // Before anything is asserted, or the reader would never end.
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            reader.join().expect("served at every moment");
            switched.unwrap();
        });
    }

    #[test]
    fn a_real_file_in_the_way_stops_the_switch_before_anything_changes() {
        let (_site, dir) = site();
        fill(&dir, 1, &["kernel", "rootimg.cpio.gz"]);
        fs::write(dir.path().join("rootimg.cpio.gz"), "precious").unwrap();
        assert!(matches!(switch(&dir, number(1)), Err(LinkError::Occupied { .. })));
        assert_eq!(read(&dir, "rootimg.cpio.gz").unwrap(), "precious");
        assert!(dir.path().join("kernel").symlink_metadata().is_err());
        assert_eq!(dir.live().unwrap(), None);
    }
}
