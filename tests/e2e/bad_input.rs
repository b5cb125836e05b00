//! What users get wrong: one clear message each, the right exit code, and nothing half done.

use std::fs;
use std::process::Command;

use tests::{AgentOptions, Site, SiteOptions, debian};

/// A small file system of its own, unmounted when it is dropped.
struct Tmpfs {
    at: std::path::PathBuf,
}

impl Tmpfs {
    fn mount(at: std::path::PathBuf, size: &str) -> Self {
        fs::create_dir_all(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at).status();
        assert!(mounted.unwrap().success(), "a tmpfs can be mounted");
        Self { at }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.at).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} is still mounted", self.at.display());
    }
}

const OTHER_ARCH: &str = if cfg!(target_arch = "x86_64") { "ppc64le" } else { "x86_64" };

#[test]
fn what_does_not_exist_is_named() {
    let mut site = Site::start();
    site.agent("n1");
    let cli = &site.cli;
    cli.run("build nonesuch").exited(3).says("nonesuch");
    cli.run("builds show 99").exited(3).says("no build 99");
    cli.run("builds logs 99").exited(3).says("no build 99");
    cli.run("builds cancel 99").exited(3).says("no build 99");
    cli.run("agents show nonesuch").exited(3).says("no agent");
    cli.run("generations list nonesuch").exited(3).says("nonesuch");
    cli.run("builds show zero").exited(2);
    cli.run("osimage frobnicate").exited(2);
    site.osimage("a", "x\n", &[]);
    cli.run("build a --agent n9").exited(3).says("n9");
    cli.run("build a --method ar").exited(3).says("Invalid archive method 'ar'");
    cli.run("packimage a").exited(3).says("run genimage");
    site.osimage("far", "x\n", &[format!("osarch={OTHER_ARCH}")]);
    cli.run("build far").exited(3).says(&format!("no agent of architecture {OTHER_ARCH} has joined"));
    assert_eq!(cli.json("builds list"), serde_json::json!([]));
}

#[test]
fn a_rootimgdir_outside_the_install_root_is_refused() {
    let mut site = Site::start();
    site.agent("n1");
    let sneaky = site.install_dir().join("netboot");
    fs::create_dir_all(&sneaky).unwrap();
    std::os::unix::fs::symlink("/var/tmp", sneaky.join("link")).unwrap();
    let root = site.install_dir().display().to_string();
    for dir in ["/var/tmp/elsewhere".to_owned(), format!("{root}/../out"), format!("{root}/netboot/link/x"), root] {
        site.osimage("a", "x\n", &[]);
        let set = site.cli.run(&format!("osimage set a rootimgdir={dir}"));
        let refused = if set.code == 0 { site.cli.run("build a") } else { set };
        refused.exited(3).says("rootimgdir");
        site.cli.ok("osimage rm a");
    }
}

#[test]
fn a_coordinator_that_is_not_there_is_said_with_its_address() {
    let mut site = Site::start();
    site.coordinator().stop();
    site.cli.run("osimage list").exited(4).says(&site.cli.coordinator);
}

#[test]
fn a_package_that_is_not_to_be_had_fails_the_build_by_name() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("a", "dracut\nno-such-package-anywhere\n", &[]);
    site.cli.run("build a").exited(1).says("no-such-package-anywhere");
    let build = &site.cli.json("builds show 1");
    let build = build.as_array().map_or(build, |list| &list[0]);
    assert_eq!(build["state"]["name"], "failed");
    assert_eq!(build["state"]["failure"]["stage"], "packages");
    let cause = build["state"]["failure"]["cause"].as_str().unwrap();
    assert!(cause.contains("no-such-package-anywhere") && cause.contains("a.pkglist:2"), "{cause}");
    assert!(site.cli.ok("builds logs 1").contains("no-such-package-anywhere"));
    let explained = site.cli.run("explain 1").succeeded();
    assert!(
        explained.out.contains("packages") && explained.out.contains("no-such-package-anywhere"),
        "{}",
        explained.out
    );
    site.scratch_is_cleared("n1");
    assert!(!site.rootimgdir("a").join("rootimg").exists());
}

#[test]
fn a_mirror_that_does_not_answer_and_one_without_signature_fail_with_their_names() {
    let mut site = Site::start();
    site.agent("n1");
    let (codename, _) = debian();
    site.osimage("a", "dracut\n", &[format!("pkgdir=http://127.0.0.1:9/debian {codename} main")]);
    site.cli.run("build a").exited(1).says("127.0.0.1:9");
    let tree = site.install_dir().join("debs");
    fs::create_dir_all(&tree).unwrap();
    site.write("debs/Packages", "");
    site.osimage("b", "dracut\n", &[format!("pkgdir={}", tree.display())]);
    site.cli.run("build b").exited(3).says("trusted=yes");
}

#[test]
fn a_full_scratch_disk_fails_the_build_and_leaves_nothing() {
    let mut site = Site::start();
    let scratch = Tmpfs::mount(site.path("small"), "300m");
    let options = AgentOptions {
        scratch: Some(scratch.at.clone()),
        config: "min_scratch_free = 1000000".into(),
        ..AgentOptions::default()
    };
    site.agent_with("n1", options);
    site.osimage("a", "linux-image-amd64\ndracut\ngcc\n", &[]);
    let ran = site.cli.run("build a").exited(1);
    assert!(ran.err.contains("full") || ran.err.contains("space"), "{}", ran.err);
    tests::eventually("scratch to be cleared", tests::CLEARED, || {
        (fs::read_dir(&scratch.at).ok()?.count() == 0).then_some(())
    });
}

#[test]
fn a_full_install_root_fails_the_build_and_leaves_nothing() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let install = Tmpfs::mount(folder.path().join("install"), "200m");
    let mut site = Site::start_with(SiteOptions { install_dir: Some(install.at.clone()), ..SiteOptions::default() });
    // Uploaded, so that it is the coordinator that meets the full disk.
    site.agent_with("n1", AgentOptions { install: "none", ..AgentOptions::default() });
    site.osimage("a", super::images::BOOTABLE, &[]);
    let ran = site.cli.run("build a").exited(1);
    assert!(ran.err.contains("full") || ran.err.contains("space") || ran.err.contains("room"), "{}", ran.err);
    let generations = site.rootimgdir("a").join(".generations");
    assert_eq!(fs::read_dir(generations).map_or(0, Iterator::count), 0, "a half generation is left");
    let staging = install.at.join(".imgctl/staging");
    tests::eventually("staging to be cleared", std::time::Duration::from_secs(5), || {
        (fs::read_dir(&staging).ok()?.count() == 0).then_some(())
    });
    drop(site);
}
