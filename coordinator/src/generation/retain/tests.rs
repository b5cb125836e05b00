use super::*;
use crate::generation::switch;
use std::os::unix::fs::symlink;

fn site(generations: u32) -> (tempfile::TempDir, RootimgDir) {
    let site = tempfile::tempdir().unwrap();
    let dir = RootimgDir::open(&site.path().join("r"), site.path()).unwrap();
    for number in 0..generations {
        let folder = dir.generations().join(number.to_string());
        fs::create_dir_all(folder.join("rootimg/etc")).unwrap();
        fs::write(folder.join("rootimg/etc/which"), number.to_string()).unwrap();
        fs::write(folder.join("rootimg.cpio.gz"), number.to_string()).unwrap();
    }
    (site, dir)
}

fn left(dir: &RootimgDir) -> Vec<String> {
    dir.numbers().unwrap().iter().map(ToString::to_string).collect()
}

fn at(dir: &RootimgDir, at: usize) -> Number {
    dir.numbers().unwrap()[at]
}

#[test]
fn the_newest_the_live_and_those_in_use_stay() {
    let (_site, dir) = site(8);
    switch(&dir, at(&dir, 1)).unwrap();
    let retained = retain(&dir, 3, &[at(&dir, 3)]).unwrap();
    assert_eq!(left(&dir), ["1", "3", "5", "6", "7"]);
    assert_eq!(retained.removed.len(), 3);
    assert!(retained.refused.is_empty());
    assert_eq!(dir.next_number().unwrap().get(), 8);
}

#[test]
fn a_shared_tree_moves_to_one_that_stays() {
    let (_site, dir) = site(6);
    for number in ["3", "4", "5"] {
        let folder = dir.generations().join(number);
        remove_tree(&folder.join("rootimg")).unwrap();
        symlink("../1/rootimg", folder.join("rootimg")).unwrap();
    }
    switch(&dir, at(&dir, 4)).unwrap();
    let retained = retain(&dir, 3, &[]).unwrap();
    assert_eq!(left(&dir), ["3", "4", "5"]);
    assert_eq!(retained.moved.len(), 1);
    for number in ["3", "4", "5"] {
        let which = fs::read_to_string(dir.generations().join(number).join("rootimg/etc/which")).unwrap();
        assert_eq!(which, "1", "{number}");
    }
    assert_eq!(dir.tree_owner(at(&dir, 0)).unwrap(), at(&dir, 1));
    assert!(dir.generations().join("4/rootimg").symlink_metadata().unwrap().is_dir());
    assert_eq!(fs::read_to_string(dir.path().join("rootimg/etc/which")).unwrap(), "1");
}

#[test]
fn what_a_crash_left_is_swept_and_generations_are_not() {
    let (_site, dir) = site(2);
    for name in [".incoming-7.1", ".packing-3", ".pruned-1"] {
        fs::create_dir_all(dir.generations().join(name).join("rootimg/x")).unwrap();
    }
    sweep(&dir).unwrap();
    assert_eq!(fs::read_dir(dir.generations()).unwrap().count(), 2);
}

/// Something precious, mounted until this goes.
struct Mounted {
    point: PathBuf,
    precious: PathBuf,
}

impl Mounted {
    fn at(site: &Path, point: PathBuf) -> Self {
        let precious = site.join("precious");
        fs::create_dir_all(&precious).unwrap();
        fs::write(precious.join("data"), "x").unwrap();
        fs::create_dir_all(&point).unwrap();
        rustix::mount::mount_bind(&precious, &point).expect("this test needs root");
        Self { point, precious }
    }

    /// That `refused` is one entry, which names the mount by the name that it has, and nothing behind it is gone.
    fn stood(&self, refused: &[(PathBuf, RemoveError)]) {
        let [(_, error)] = refused else { panic!("{refused:?}") };
        assert!(error.to_string().ends_with(&format!(": `{}`", self.point.display())), "{error}");
        assert!(matches!(error, RemoveError::Mounted { .. }));
        assert_eq!(fs::read_to_string(self.precious.join("data")).unwrap(), "x");
        assert_eq!(fs::read_to_string(self.point.join("data")).unwrap(), "x", "it is mounted where it was");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A failure shows by itself: the folder can't be removed.
        let _ = rustix::mount::unmount(&self.point, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_generation_with_something_mounted_in_it_stays_as_it_is_and_goes_when_that_is_gone() {
    for (point, shared) in
        [("1/rootimg/mnt", false), ("1/rootimg", false), ("1/rootimg/mnt", true), ("1/rootimg", true)]
    {
        let (site, dir) = site(5);
        if shared {
            remove_tree(&dir.generations().join("4/rootimg")).unwrap();
            symlink("../1/rootimg", dir.generations().join("4/rootimg")).unwrap();
        }
        let mounted = Mounted::at(site.path(), dir.generations().join(point));
        for _ in 0..2 {
            let retained = retain(&dir, 3, &[]).unwrap();
            mounted.stood(&retained.refused);
            assert_eq!(left(&dir), ["1", "2", "3", "4"], "{point}");
            assert!(retained.moved.is_empty());
        }
        drop(mounted);
        let retained = retain(&dir, 3, &[]).unwrap();
        assert!(retained.refused.is_empty());
        assert_eq!(left(&dir), ["2", "3", "4"], "{point}");
        let which = fs::read_to_string(dir.generations().join("4/rootimg/etc/which")).unwrap();
        assert_eq!(which, if shared { "1" } else { "4" });
    }
}

#[test]
fn half_done_work_with_something_mounted_in_it_is_named_and_the_rest_goes() {
    let (site, dir) = site(1);
    for name in [".incoming-7.1", ".packing-3", ".pruned-1"] {
        fs::create_dir_all(dir.generations().join(name).join("rootimg/x")).unwrap();
    }
    let mounted = Mounted::at(site.path(), dir.generations().join(".incoming-7.1/rootimg/x"));
    mounted.stood(&sweep(&dir).unwrap().refused);
    assert_eq!(fs::read_dir(dir.generations()).unwrap().count(), 2);
    drop(mounted);
    assert!(sweep(&dir).unwrap().refused.is_empty());
    assert_eq!(left(&dir), ["0"]);
    assert_eq!(fs::read_dir(dir.generations()).unwrap().count(), 1);
}
