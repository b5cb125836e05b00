//! Repositories of rpms over HTTP, which only the agent can look into, on a node without the install root; and initrds
//! that are made anew for the image that came of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::el9::medium;
use tests::{AgentOptions, Site, Web};

use crate::rpm::{BOOTS, define};

#[test]
fn an_image_comes_over_http_and_its_initrds_are_made_anew() {
    let mut site = Site::start();
    let medium = medium();
    medium.lay_into(site.install_dir());
    let web = Web::serve(medium.install());
    site.agent_with("n1", AgentOptions { install: "none", ..AgentOptions::default() });
    let key = medium.key();
    let signed = |path: &Path| format!("[signed-by=@/{}] {}", key.display(), web.url(path));
    let of_os = ["BaseOS", "AppStream"].map(|name| signed(&medium.tree().join(name)));
    let pkgdir = format!("pkgdir={},{}", of_os.join(","), signed(&medium.fixtures()));
    site.write("lists/other", "gpfs/gpfs.base\n");
    // The second server has no such sub-directory.
    let other = format!("otherpkgdir=[trusted=yes] {},[trusted=yes] {}", web.url(medium.otherpkgs()), web.url("bare"));
    let packages = format!("{BOOTS}fixture-versions-1.0\nfixture-caps\n");
    let attributes = [pkgdir.as_str(), "otherpkglist=@/lists/other", &other, "update=all"];
    define(&site, "web", &packages, &attributes);
    let gone = format!("pkgdir={},{}", of_os.join(","), signed(Path::new("nothing/here")));
    define(&site, "gone", BOOTS, &[&gone]);

    what_is_not_there_is_found_out_before_anything_is_installed(&site, &web);
    site.cli.run("genimage web --onlyinitrd").exited(3).says("run genimage first");
    let said = site.cli.run("genimage web --noupdate").succeeded().out;
    let passed_over = format!("is passed over: there is no {}/gpfs", web.url("bare"));
    assert!(said.contains(&passed_over), "`{passed_over}` is not in:\n{said}");
    let dir = site.install_dir().join("netboot").join(medium.osver()).join(medium.arch()).join("web");
    let first = dir.join(".generations/1");
    let tree = first.join("rootimg");
    let versions = fs::read_to_string(tree.join("etc/fixture-versions.conf")).unwrap();
    assert_eq!(versions, "one\n", "update=all was off for this build");
    assert!(tree.join("usr/lpp/mmfs").exists(), "the otherpkgs pass installs all the same");
    let second = dir.join(".generations/2");
    only_the_initrds_are_new(&site, &first, &second);
    a_kernel_that_does_not_fit_makes_none(&site, &second);
}

fn a_kernel_that_does_not_fit_makes_none(site: &Site, newest: &Path) {
    let failed = |options: &str, says: &str| {
        let ran = site.cli.run(&format!("genimage web --onlyinitrd {options}")).exited(1);
        assert!(ran.err.contains(says), "`{says}` is not in:\n{}", ran.err);
    };
    failed("-k 9.9.9-1.el9.x86_64", "couldn't find the kernel file matched 9.9.9-1.el9.x86_64");
    let (modules, release) = (newest.join("rootimg/usr/lib/modules"), medium().kernel_release());
    fs::rename(modules.join(release), modules.join("0.0.0-other")).unwrap();
    failed("", &format!("the kernel that is there as 0.0.0-other calls itself {release}"));
    fs::remove_file(modules.join("0.0.0-other/vmlinuz")).unwrap();
    failed("", &format!("modules without a kernel: 0.0.0-other, kernel without modules: {release}"));
}

fn what_is_not_there_is_found_out_before_anything_is_installed(site: &Site, web: &Web) {
    let ran = site.cli.run("genimage web -k 9.9.9-1.el9.x86_64").exited(1);
    let said = ran.out + &ran.err;
    let there = format!("The repositories have {}", medium().package("kernel-core").version_release());
    assert!(said.contains("Cannot find the kernel package with version 9.9.9-1.el9.x86_64"), "{said}");
    assert!(said.contains(&there), "`{there}` is not in:\n{said}");
    assert!(!said.contains("Installing"), "something was installed before the kernel was looked for:\n{said}");
    let ran = site.cli.run("build gone").exited(1);
    let (said, url) = (ran.out + &ran.err, web.url("nothing/here"));
    assert!(said.contains("can't be read") && said.contains(&url), "{said}");
    assert!(!said.contains("Installing"), "{said}");
}

fn only_the_initrds_are_new(site: &Site, first: &Path, second: &Path) {
    let record = |dir: &Path| -> Value { serde_json::from_slice(&fs::read(dir.join("build.json")).unwrap()).unwrap() };
    let before = record(first);
    let driver = driver_that_is_in_none(&first.join("rootimg"), &before);
    fs::write(first.join("rootimg/etc/motd"), "by hand\n").unwrap();
    let ran = site.cli.run(&format!("build web --onlyinitrd -n {driver},nosuchdriver")).succeeded();
    let said = ran.out + &ran.err;
    assert!(said.contains("the tree is that of generation 1, with its 1 edits by hand"), "{said}");
    assert!(!said.contains("repository os-1"), "no package manager is asked for anything:\n{said}");
    let end = said.split("warnings:").nth(1).unwrap_or_default();
    assert!(end.contains("has no driver nosuchdriver; netdrivers names it"), "warnings come last:\n{said}");
    let stages = &site.cli.json("builds list")[0]["attempts"][0]["stages"];
    let status = |name: &str| {
        let stage = stages.as_array().unwrap().iter().find(|stage| stage["stage"] == name);
        stage.unwrap_or_else(|| panic!("no stage {name} in {stages}"))["status"].clone()
    };
    assert_eq!((status("otherpkgs"), status("postinstall")), (json!("skipped"), json!("skipped")));

    let after = record(second);
    assert_eq!((&after["packages"], &after["wish"]["only_initrd"]), (&before["packages"], &json!(true)));
    for initrd in after["initrds"].as_array().unwrap() {
        assert!(modules(initrd).contains(&driver), "{driver} is not in {initrd}");
    }
    let tree = second.join("rootimg");
    assert_eq!(fs::read_to_string(tree.join("etc/motd")).unwrap(), "by hand\n");
    let capabilities = Command::new("getcap").arg(tree.join("usr/bin/fixture-caps")).output().unwrap();
    assert!(String::from_utf8_lossy(&capabilities.stdout).contains("cap_net_raw=ep"), "the file's capability");
    let inode = |dir: &Path| dir.join("kernel").metadata().unwrap().ino();
    assert_ne!(inode(first), inode(second));
    assert!(second.join("rootimg.cpio.gz").exists() && !first.join("rootimg.cpio.gz").exists());
    // A fresh tree would not have the edit.
    let refused = site.cli.run("build web").exited(3);
    assert!(refused.err.contains("etc/motd: added"), "{}", refused.err);
    // The lists are what they were.
    let dry = site.cli.run("build web --dryrun").succeeded();
    assert!(!dry.err.contains("the lists gained"), "{}", dry.err);
}

fn modules(initrd: &Value) -> BTreeSet<String> {
    let names = initrd["module_names"].as_array().unwrap();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// A driver that the kernel has and no initrd took by itself.
fn driver_that_is_in_none(tree: &Path, record: &Value) -> String {
    let kernel = record["kernel_version"].as_str().unwrap();
    let depends = fs::read_to_string(tree.join("usr/lib/modules").join(kernel).join("modules.dep")).unwrap();
    let taken: BTreeSet<String> = record["initrds"].as_array().unwrap().iter().flat_map(modules).collect();
    let names = depends.lines().filter_map(|line| line.split(':').next()?.rsplit('/').next()?.split('.').next());
    let mut free = names.map(|name| name.replace('-', "_")).filter(|name| !taken.contains(name));
    free.next().expect("an initrd does not hold every module")
}
