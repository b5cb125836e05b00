use super::*;
use std::process::{Command, Stdio};

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["t/etc/fstab", "t/boot/vmlinuz", "t/usr/share/man/ls.1", "t/usr/share/man/keep.1"] {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    fs::write(dir.path().join("exlist"), "./boot*\n./usr/share/man*\n+./usr/share/man/keep.1\n").unwrap();
    dir
}

fn order(dir: &Path) -> PackTree {
    PackTree {
        root: dir.join("t"),
        out: dir.join("out.cpio.gz"),
        method: String::new(),
        compress: String::new(),
        exlists: vec![dir.join("exlist")],
        threads: NonZeroUsize::new(2),
    }
}

#[test]
fn gzip_and_cpio_read_it_and_nothing_was_put_in() {
    let dir = tree();
    pack_tree(&order(dir.path())).unwrap();
    let out = dir.path().join("out.cpio.gz");
    assert!(Command::new("gzip").arg("-t").arg(&out).status().unwrap().success());
    let mut gunzip = Command::new("gzip").arg("-dc").arg(&out).stdout(Stdio::piped()).spawn().unwrap();
    let stdin = gunzip.stdout.take().unwrap();
    let listed = Command::new("cpio").args(["-t", "--quiet"]).stdin(stdin).output().unwrap();
    gunzip.wait().unwrap();
    assert!(listed.status.success() && listed.stderr.is_empty());
    let listed = String::from_utf8(listed.stdout).unwrap();
    let listed: Vec<_> = listed.lines().map(|name| name.trim_start_matches("./")).collect();
    assert_eq!(listed, [".", "etc", "etc/fstab", "usr", "usr/share", "usr/share/man", "usr/share/man/keep.1"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_the_old_archive() {
    let dir = tree();
    let good = order(dir.path());
    fs::write(&good.out, "old").unwrap();
    let refused = |change: fn(&mut PackTree)| {
        let mut bad = good.clone();
        change(&mut bad);
        pack_tree(&bad).unwrap_err().to_string()
    };
    assert!(refused(|order| order.method = "zoo".into()).starts_with("Invalid archive method 'zoo' requested"));
    assert!(refused(|order| order.compress = "rar".into()).starts_with("Invalid compress method 'rar' requested"));
    assert!(refused(|order| order.out = order.root.join("etc/x.gz")).contains("is inside the tree"));
    assert!(refused(|order| order.root.push("none")).contains("none"));
    assert!(refused(|order| order.exlists.push("/none".into())).contains("/none"));
    assert_eq!(fs::read_to_string(&good.out).unwrap(), "old");
}
