//! A site with an image that is built in seconds: the smallest Debian of the machine's own mirror, and one package of
//! the site's own that stands for kernel and dracut. Its scripts are the test's.

#![allow(clippy::unwrap_used, dead_code, reason = "a test fails by panicking, and no test needs all of it")]

mod mirror;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mirror::mirror;
use serde_json::json;

/// Where the tests' coordinator says that archives are to be published.
pub(crate) const STAGING: &str = ".imgctl/staging/x";

/// Scripts of the site: what they do is what a test is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scripts {
    /// Of the package, when it is configured; runs in the image.
    pub(crate) postinst: String,
    /// The osimage's own; runs on the node with the tree as its first argument.
    pub(crate) postinstall: String,
    /// Before dracut makes an initrd; runs in the image.
    pub(crate) dracut: String,
}

/// The site's install root, with its repository.
#[derive(Debug)]
pub(crate) struct Site {
    folder: tempfile::TempDir,
    scripts: Scripts,
}

impl Site {
    pub(crate) fn new(scripts: Scripts) -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(folder.path().join(STAGING)).unwrap();
        let site = Self { folder, scripts };
        site.make_repository();
        site
    }

    pub(crate) fn install(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Where an attempt on a node that sees the install root publishes.
    pub(crate) fn staging(&self) -> PathBuf {
        self.install().join(STAGING)
    }

    fn others(&self) -> PathBuf {
        self.install().join("post/otherpkgs")
    }

    fn make_repository(&self) {
        let tree = self.others().join("tree");
        let control = "Package: site-boot\nVersion: 1.0\nArchitecture: all\nMaintainer: site <s@example.com>\n\
            Description: test\n";
        let dracut = format!("{}for last; do :; done\ncp /opt/initrd \"$last\"\n", self.scripts.dracut);
        let programs = [
            ("DEBIAN/postinst", self.scripts.postinst.as_str()),
            ("usr/bin/dracut", &dracut),
            ("usr/bin/curl", ""),
            ("usr/sbin/depmod", ""),
            ("usr/sbin/mount.nfs", ""),
            ("usr/sbin/NetworkManager", ""),
        ];
        for (name, script) in programs {
            write(&tree.join(name), format!("#!/bin/sh\n{script}\n").as_bytes());
        }
        write(&tree.join("DEBIAN/control"), control.as_bytes());
        write(&tree.join("boot/vmlinuz-1.0"), b"a kernel");
        write(&tree.join("usr/lib/modules/1.0/kernel/x.ko"), b"a module");
        write(&tree.join("usr/lib/dracut/modules.d/35network-manager/module-setup.sh"), b"");
        write(&tree.join("opt/initrd"), &initrd());
        let deb = self.others().join("site-boot_1.0_all.deb");
        assert!(Command::new("dpkg-deb").arg("--build").arg(&tree).arg(&deb).output().unwrap().status.success());
        let bytes = fs::read(&deb).unwrap();
        let digest = rootfs::digest::Digest::of(&bytes).to_hex();
        let entry = format!("{control}Filename: ./site-boot_1.0_all.deb\nSize: {}\nSHA256: {digest}\n", bytes.len());
        fs::write(self.others().join("Packages"), entry).unwrap();
    }

    /// The plan of its one osimage.
    pub(crate) fn plan(&self) -> String {
        let install = self.install();
        let pass = |names: &[&str]| {
            let items: Vec<_> = names.iter().map(|name| json!({"name": name, "at": "test.pkglist:1"})).collect();
            json!({"environment": {}, "remove_before": [], "install": items, "remove_after": []})
        };
        let script = format!("#!/bin/sh\n{}\n", self.scripts.postinstall);
        json!({
            "version": model::plan::PLAN_VERSION, "osimage": "test", "revision": 1, "osvers": "debian12", "osarch": "x86_64", "arch": "x86_64",
            "profile": "test", "provmethod": "netboot", "rootimgdir": install.join("netboot/debian12/x86_64/test"),
            "install_dir": install, "packages": {"kind": "apt", "suite": "bookworm"},
            "repositories": [{
                "url": mirror(), "suite": "bookworm", "components": ["main"], "trust": {"kind": "distribution"},
                "source": "pkgdir"
            }],
            "other_repositories": [{
                "url": format!("file://{}", self.others().display()), "suite": "./", "components": [],
                "trust": {"kind": "unsigned"}, "source": "otherpkgdir"
            }],
            "passes": [pass(&[])], "other_passes": [pass(&["site-boot"])], "environment": {},
            "kernel": {"kind": "only"}, "drivers": {},
            "postinstall": [{"path": "/srv/post.sh", "args": [], "content": {"text": script}}],
            "interfaces": {"boot": null, "others": []}, "script_environment": {}, "needs_install": [],
            "attributes": [], "warnings": [],
        })
        .to_string()
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// An archive that passes for an initrd: an `/init`, a module, no content.
fn initrd() -> Vec<u8> {
    let entry = |name: &str| {
        let (zero, length) = ("00000000", format!("{:08x}", name.len() + 1));
        let mut entry = format!("070701{}{length}{zero}{name}\0", zero.repeat(11));
        while entry.len() % 4 != 0 {
            entry.push('\0');
        }
        entry
    };
    ["init", "usr/lib/modules/1.0/kernel/x.ko", "TRAILER!!!"].map(entry).concat().into_bytes()
}

/// Every process whose environment or command line has `mark` in it.
pub(crate) fn processes(mark: &str) -> Vec<String> {
    let has_mark = |path: String| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.filter(|pid| has_mark(format!("/proc/{pid}/environ")) || has_mark(format!("/proc/{pid}/cmdline"))).collect()
}

/// A script that will not go: deaf to signals, with children that left its group and its session, a full pipe and a
/// mount. It says `hostile and ready` and stays.
pub(crate) fn hostile(mark: &str, mount_on: &str) -> String {
    format!(
        "export IMGCTL_MARK={mark}\ntrap '' TERM INT HUP QUIT PIPE\n\
         setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; done' &\n( ( while :; do sleep 1000; done ) & )\n\
         yes | sleep 1000 &\nmount -t tmpfs none {mount_on} || exit 1\necho hostile and ready\n\
         while :; do sleep 0.1; done\n"
    )
}
