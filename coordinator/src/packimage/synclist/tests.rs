use super::*;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// An image with `/etc/existing/`, `/lib -> usr/lib` and `/tmp -> /var/tmp`; a folder `mn` with sources.
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["image/etc/existing", "image/usr/lib", "image/var", "mn/conf.d/deep", "mn/.hidden"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["mn/a.conf", "mn/b.conf", "mn/.c.conf", "mn/conf.d/one", "mn/conf.d/deep/two"] {
            fs::write(at(file), file).unwrap();
        }
        symlink("usr/lib", at("image/lib")).unwrap();
        symlink("a.conf", at("mn/link")).unwrap();
        Site { dir }
    }

    fn run(&self, lines: &[(&str, &str)]) -> Result<BTreeMap<TreePath, Overlay>, Vec<Problem>> {
        let mn = self.dir.path().join("mn");
        let line = |(number, (sources, target)): (usize, &(&str, &str))| CopyLine {
            sources: sources.split(' ').map(|source| mn.join(source).to_str().unwrap().to_owned()).collect(),
            target: (*target).to_owned(),
            into_directory: target.ends_with('/') || sources.contains(' '),
            at: format!("list:{}", number + 1),
        };
        let copies: Vec<_> = lines.iter().enumerate().map(line).collect();
        overlays(&InImage::new(&self.dir.path().join("image")), &copies)
    }

    fn places(&self, lines: &[(&str, &str)]) -> Vec<String> {
        self.run(lines).unwrap().keys().map(ToString::to_string).collect()
    }
}

#[test]
fn the_target_is_a_directory_when_the_image_says_so() {
    let site = Site::new();
    let table: [(&str, &str, &[&str]); 9] = [
        ("a.conf", "/etc/new.conf", &["etc/new.conf"]),
        ("a.conf", "/etc/new/", &["etc/new/a.conf"]),
        ("a.conf", "/etc/existing", &["etc/existing/a.conf"]),
        ("a.conf b.conf", "/opt", &["opt/a.conf", "opt/b.conf"]),
        ("*.conf", "/opt", &["opt/a.conf", "opt/b.conf"]),
        (".[!.]*.conf", "/opt/x", &["opt/x"]),
        ("a.conf", "/lib/a", &["usr/lib/a"]),
        ("conf.d/deep", "/etc/existing", &["etc/existing/deep", "etc/existing/deep/two"]),
        ("conf.d", "/etc/other", &["etc/other", "etc/other/deep", "etc/other/deep/two", "etc/other/one"]),
    ];
    for (sources, target, places) in table {
        assert_eq!(site.places(&[(sources, target)]), places, "{sources} -> {target}");
    }
    // A folder of the management node is none of the image.
    assert_eq!(site.places(&[("a.conf", "/proc/self")]), ["proc/self"]);
}

#[test]
fn lines_are_carried_out_one_after_the_other() {
    let site = Site::new();
    let lines = [("a.conf", "/opt/site/"), ("b.conf", "/opt/site")];
    assert_eq!(site.places(&lines), ["opt/site/a.conf", "opt/site/b.conf"]);
    let overlays = site.run(&[("a.conf", "/lib/x"), ("b.conf", "/usr/lib/x")]).unwrap();
    assert_eq!(overlays.len(), 1);
    let OverlayContent::File(source) = &overlays.values().next().unwrap().content else { panic!("no file") };
    assert!(source.ends_with("mn/b.conf"));
}

#[test]
fn links_are_followed_and_owner_mode_and_time_kept() {
    let site = Site::new();
    let source = site.dir.path().join("mn/a.conf");
    fs::set_permissions(&source, fs::Permissions::from_mode(0o4711)).unwrap();
    chown(&source, Some(12), Some(34)).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o4711)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 5);
    fs::File::options().write(true).open(&source).unwrap().set_modified(time).unwrap();
    let overlays = site.run(&[("link", "/etc/l")]).unwrap();
    let overlay = overlays.values().next().unwrap();
    let expected = Attributes { mode: 0o4711, uid: 12, gid: 34, mtime: Stamp(1_600_000_000, 5) };
    assert_eq!(overlay.attributes, expected);
    assert!(matches!(overlay.content, OverlayContent::File(_)));
}

#[test]
fn every_problem_of_every_line_is_named() {
    let site = Site::new();
    let mn = site.dir.path().join("mn");
    symlink("..", mn.join("conf.d/up")).unwrap();
    symlink("nowhere", mn.join("dangling")).unwrap();
    let lines = [("none also-none", "/a/"), ("a.conf", "/ok"), ("*.rpm", "/b/"), ("dangling", "/c"), ("conf.d", "/d")];
    let problems = site.run(&lines).unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| problem.at.clone().unwrap()).collect();
    assert_eq!(places, ["list:1", "list:1", "list:3", "list:4", "list:5"]);
    assert!(problems[0].message.contains("mn/none` is not there on the management node"), "{}", problems[0]);
    assert!(problems[4].message.contains("leads back"), "{}", problems[4]);
}
