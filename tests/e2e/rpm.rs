//! Whole builds of an image of Red Hat's family, from a medium like Enterprise Linux 9: signed, with groups, module
//! streams, otherpkgs, and packages that go wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::el9::{add_kit_component, medium};
use tests::{AgentOptions, Site};

use crate::images::boots;

/// A site with the medium laid into its install root.
fn site(slots: u32) -> Site {
    let mut site = Site::start();
    medium().lay_into(site.install_dir());
    site.agent_with("n1", AgentOptions { config: format!("slots = {slots}"), ..AgentOptions::default() });
    site
}

/// Defines an osimage of the medium; `@` in attributes stands for the install root.
pub(crate) fn define(site: &Site, name: &str, packages: &str, attributes: &[&str]) {
    let list = site.write(&format!("lists/{name}.pkglist"), packages);
    let medium = medium();
    let mut args = vec!["osimage".to_owned(), "create".into(), name.into(), "provmethod=netboot".into()];
    args.push(format!("osarch={}", medium.arch()));
    if !attributes.iter().any(|attribute| attribute.starts_with("osvers=")) {
        args.push(format!("osvers={}", medium.osver()));
    }
    args.extend([format!("profile={name}"), format!("pkglist={}", list.display())]);
    if !attributes.iter().any(|attribute| attribute.starts_with("pkgdir=")) {
        args.push(format!("pkgdir={}", pkgdir()));
    }
    args.extend(attributes.iter().map(|attribute| (*attribute).to_owned()));
    let root = site.install_dir().display().to_string();
    let args: Vec<String> = args.into_iter().map(|arg| arg.replace('@', &root)).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    site.cli.run_args(&args, b"").succeeded();
}

/// The medium and the repository of difficult packages; the keys of the first are for both.
fn pkgdir() -> String {
    format!("@/{},@/{}", medium().tree().display(), medium().fixtures().display())
}

fn in_root(root: &Path, args: &[&str]) -> String {
    let output = Command::new("chroot").arg(root).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The stock list and everything that a list can ask for, in one build, for it takes a while.
#[test]
fn an_image_is_built_whole_with_passes_streams_and_capabilities() {
    let site = site(1);
    let medium = medium();
    let other = medium.otherpkgs();
    // A second local otherpkgdir, which is trusted as it is.
    let vendor = site.install_dir().join("vendor");
    fs::create_dir(&vendor).unwrap();
    fs::rename(site.install_dir().join(&other).join("gpfs"), vendor.join("gpfs")).unwrap();
    site.write(
        "lists/other",
        "-bzip2\nmofed/mofed-basic\ngpfs/gpfs.base\n#NEW_INSTALL_LIST#\n#ENV:ACCEPT_EULA=yes#\n\
         gpfs/gpfs.gplbin\nfixture-eula\n--bc\n",
    );
    let stock = fs::read_to_string(medium.stock_list()).unwrap();
    let more = "fixture-caps\nfixture-versions-1.0\nfixture-bad-scriptlet\n@fixture-tool:2/common\n";
    let kit = with_kit(&site);
    let other = format!("otherpkgdir=@/{},[trusted=yes] @/vendor", other.display());
    let attributes = [&other, "update=otherpkgs", "scriptletsmayfail=fixture-bad-scriptlet", "otherifce=eth7"];
    let attributes: Vec<&str> = attributes.into_iter().chain(kit.iter().map(String::as_str)).collect();
    define(&site, "compute", &format!("{stock}{more}"), &attributes);

    let ran = site.cli.run("build compute").succeeded();
    let said = format!("{}{}", ran.out, ran.err);
    for words in [
        "os-1: file://",
        "signatures are checked with RPM-GPG-KEY-fixture",
        "signatures are checked with RPM-GPG-KEY-vendor",
        "signatures are NOT checked, as the definition says",
        "warning: scriptlet %post of package `fixture-bad-scriptlet` failed with exit status 1: the scriptlet of \
         fixture-bad-scriptlet says why it fails; scriptletsmayfail allows it",
    ] {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
    let dir = rootimgdir(&site);
    for artefact in ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "rootimg.cpio.gz"] {
        assert!(dir.join(artefact).exists(), "{artefact} is missing");
    }
    let rootimg = dir.join("rootimg").canonicalize().unwrap();
    what_is_installed(&rootimg, &dir);
    what_the_passes_left(&rootimg);
    what_was_configured(&rootimg);
    what_the_kit_left(&site, &dir);
    boots(&dir);
}

/// The attributes of an osimage that a component of a kit was added to, as xCAT's addkitcomp leaves them. Kits are not
/// signed, so it is linked into the otherpkgdir that is trusted.
fn with_kit(site: &Site) -> [String; 4] {
    let (install, medium) = (site.install_dir(), medium());
    let lists = add_kit_component(medium, install, "compute", &install.join("vendor"), &rootimgdir(site));
    let (first, last) = (lists.parameters.display(), lists.components.display());
    [
        format!("kitcomponents=component-fixture-1.0-rhels9-{}", medium.arch()),
        format!("otherpkglist={first},@/lists/other,{last}"),
        format!("exlist={}", lists.exlist.display()),
        format!("postinstall={}", lists.postinstall.display()),
    ]
}

fn rootimgdir(site: &Site) -> PathBuf {
    site.install_dir().join("netboot").join(medium().osver()).join(medium().arch()).join("compute")
}

/// The kit's package got its parameter, its script ran with the tree's place, its exlist was followed.
fn what_the_kit_left(site: &Site, dir: &Path) {
    let rootimg = dir.join("rootimg");
    let read = |name: &str| fs::read_to_string(rootimg.join(name)).unwrap();
    assert_eq!(read("etc/fixture-kit-parameter"), "from_the_kit\n");
    assert_eq!(read("etc/fixture-kit-postinstall"), format!("{}/vendor\n", site.install_dir().display()));
    assert!(rootimg.join("opt/fixture-kit/doc/manual").exists());
    let packed = Command::new("bash")
        .args(["-c", "gzip -dc \"$0\" | cpio -t --quiet"])
        .arg(dir.join("rootimg.cpio.gz"))
        .output();
    let packed = String::from_utf8(packed.unwrap().stdout).unwrap();
    assert!(packed.contains("opt/fixture-kit/bin/tool") && !packed.contains("opt/fixture-kit/doc"), "the kit's exlist");
}

/// The image's own rpm lists what the record does, and that is what was asked for.
fn what_is_installed(rootimg: &Path, dir: &Path) {
    let listed = in_root(rootimg, &["rpm", "-qa", "--qf", "%{NAME} %{ARCH}\n"]);
    let mut listed: Vec<&str> = listed.lines().filter(|line| !line.starts_with("gpg-pubkey")).collect();
    listed.sort_unstable();
    let record: Value = serde_json::from_slice(&fs::read(dir.join("current/build.json")).unwrap()).unwrap();
    let text = |package: &Value, field: &str| package[field].as_str().unwrap().to_owned();
    let packages = record["packages"].as_array().unwrap().iter();
    let mut recorded: Vec<String> =
        packages.map(|package| format!("{} {}", text(package, "name"), text(package, "arch"))).collect();
    recorded.sort_unstable();
    assert_eq!(listed, recorded);
    let has = |name: &str| listed.iter().any(|line| line.split(' ').next() == Some(name));
    for name in ["kernel-core", "mofed-basic", "gpfs.gplbin", "fixture-caps", "fixture-eula", "fixture-bad-scriptlet"] {
        assert!(has(name), "{name} is not installed");
    }
    assert!(!has("bzip2") && !has("bc"), "removals before and after");
    // The keys that packages were checked with are known to the image's rpm too.
    assert!(!in_root(rootimg, &["rpm", "-q", "gpg-pubkey"]).is_empty());
    let left = fs::read_dir(rootimg.join("root")).unwrap().flatten().any(|entry| entry.file_name() == ".rpmdb");
    assert!(!left, "a database of the node's own kind is left");
}

fn what_the_passes_left(rootimg: &Path) {
    let read = |name: &str| fs::read_to_string(rootimg.join(name)).unwrap();
    assert_eq!(read("etc/fixture-eula"), "yes\n", "#ENV of its pass");
    assert_eq!(read("etc/fixture-versions.conf"), "ten\n", "update=otherpkgs");
    assert_eq!(in_root(rootimg, &["fixture-tool"]), "stream 2\n");
    assert!(rootimg.join("etc/dnf/modules.d/fixture-tool.module").exists(), "a booted node keeps to the stream");
    let capabilities = Command::new("getcap").arg(rootimg.join("usr/bin/fixture-caps")).output().unwrap();
    assert!(String::from_utf8_lossy(&capabilities.stdout).contains("cap_net_raw=ep"), "the file's capability");
}

fn what_was_configured(rootimg: &Path) {
    let read = |name: &str| fs::read_to_string(rootimg.join(name)).unwrap();
    assert!(read("etc/sysconfig/network").contains("NETWORKING=yes"));
    assert!(read("etc/sysconfig/network-scripts/ifcfg-eth7").contains("ONBOOT=yes"));
    assert!(read("etc/fstab").contains("gid=5,mode=620"));
    assert!(read("etc/shadow").starts_with("root:*:"));
    assert!(rootimg.join("usr/sbin/fsck.nfs").exists() || rootimg.join("sbin/fsck.nfs").exists());
    let empty = |name: &str| fs::read_dir(rootimg.join(name)).unwrap().count() == 0;
    assert!(empty("run") && empty("proc") && empty("sys"));
    assert!(!rootimg.join("etc/kernel/install.d/50-dracut.install").is_symlink());
}

/// A build that must fail, with what must be said of it.
struct Bad {
    name: &'static str,
    packages: &'static str,
    attributes: &'static [&'static str],
    /// Of the cause.
    says: &'static [&'static str],
}

impl Bad {
    /// What is wrong with how it failed, if something is.
    fn judged(&self, build: &Value) -> Option<String> {
        let failure = &build["state"]["failure"];
        let Some(cause) = failure["cause"].as_str() else { return Some(format!("{} did not fail", self.name)) };
        let missing = self.says.iter().find(|text| !cause.contains(**text));
        if let Some(text) = missing {
            return Some(format!("{}: `{text}` is not in: {cause}", self.name));
        }
        if failure["hint"].as_str().unwrap_or_default().is_empty() {
            return Some(format!("{}: no hint beside: {cause}", self.name));
        }
        // A build's own fault is not tried again.
        (build["attempts"].as_array().map(Vec::len) != Some(1)).then(|| format!("{}: more than one attempt", self.name))
    }
}

/// What a list must bring along, or it is refused before anything goes wrong with the rest.
pub(crate) const BOOTS: &str = "kernel\ndracut-network\ndhclient\nnfs-utils\ncurl\n";

const BAD: [Bad; 8] = [
    Bad {
        name: "scriptlet",
        packages: "filesystem\nbash\nfixture-bad-scriptlet\n",
        attributes: &[],
        says: &["scriptlet %post of package `fixture-bad-scriptlet` failed with exit status 1: the scriptlet of"],
    },
    // Allowed or not: without its %pre there is no package.
    Bad {
        name: "pre",
        packages: "filesystem\nbash\nfixture-bad-pre\n",
        attributes: &["scriptletsmayfail=fixture-bad-pre"],
        says: &["scriptlet %pre of package `fixture-bad-pre` failed"],
    },
    Bad {
        name: "clash",
        packages: "fixture-conflict-a\nfixture-conflict-b\n",
        attributes: &[],
        says: &["two packages bring the same file: file /usr/share/fixture-conflict"],
    },
    Bad {
        name: "unresolvable",
        packages: "fixture-unresolvable\n",
        attributes: &[],
        says: &["the packages don't fit together", "fixture-that-nobody-has", "lists/unresolvable.pkglist:1)"],
    },
    Bad {
        name: "script",
        packages: "",
        attributes: &["postinstall=@/scripts/three"],
        says: &["postinstall script ", "/scripts/three failed: ", "status 3"],
    },
    // The medium's keys are the only ones there are for it.
    Bad {
        name: "unsigned",
        packages: "gpfs.base\n",
        attributes: &["pkgdir=@/MEDIUM,@/mixed"],
        says: &["the signature of a package can't be trusted", "gpfs.base", "is not signed"],
    },
    Bad {
        name: "tampered",
        packages: "fixture-caps\n",
        attributes: &["pkgdir=@/MEDIUM,@/tampered"],
        says: &["package fixture-caps-", "is damaged, or was changed after it was signed"],
    },
    Bad {
        name: "wrongkey",
        packages: "fixture-caps\n",
        attributes: &["pkgdir=[signed-by=@/VENDOR] @/FIXTURES,@/MEDIUM"],
        says: &["the signature of a package can't be trusted: Public key for fixture-caps"],
    },
];

#[test]
fn what_can_go_wrong_with_rpms_fails_the_build_in_clear_words() {
    let site = site(2);
    repositories_that_are_bad(&site);
    let tree = medium().tree().display().to_string();
    let fixtures = medium().fixtures().display().to_string();
    let vendor = medium().otherpkgs().join("mofed/RPM-GPG-KEY-vendor").display().to_string();
    for bad in &BAD {
        let words = |attribute: &&str| {
            attribute.replace("MEDIUM", &tree).replace("VENDOR", &vendor).replace("FIXTURES", &fixtures)
        };
        let attributes: Vec<String> = bad.attributes.iter().map(words).collect();
        let packages = format!("{}{BOOTS}", bad.packages);
        define(&site, bad.name, &packages, &attributes.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let names: Vec<&str> = BAD.iter().map(|bad| bad.name).collect();
    site.cli.run(&format!("build {}", names.join(" "))).exited(1);
    let builds = site.cli.json("builds list");
    let of = |bad: &Bad| builds.as_array().unwrap().iter().find(|build| build["osimage"] == bad.name).unwrap();
    let wrong: Vec<String> = BAD.iter().filter_map(|bad| bad.judged(of(bad))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Without any key at all the resolver says so, before anything is dispatched.
    define(&site, "keyless", "gpfs.base\n", &["pkgdir=@/unsigned"]);
    site.cli.run("build keyless").exited(3).says("there is no key to check its packages with");
    define(&site, "bare", "gpfs.base\n", &["pkgdir=@/MEDIUM,@/unsigned".replace("MEDIUM", &tree).as_str()]);
    site.cli.run("build bare").exited(3).says("its packages are not signed (`gpfs.base-");
    // EL 8's rpm reads Berkeley DB alone, which this machine's rpm can't write.
    define(&site, "el8", BOOTS, &["osvers=rhels8.10"]);
    site.cli.ok("build el8 --detach");
    let explained = site.cli.ok(&format!("explain {}", BAD.len() + 1));
    assert!(explained.contains("its rpm can't write a database that the image's rpm could read (bdb)"), "{explained}");
    define(&site, "kitless", BOOTS, &["kitcomponents=pperte-1.3-rhels9-x86_64"]);
    let kitless = site.cli.run("resolve kitless").succeeded();
    assert!(kitless.err.contains("no otherpkglist installs it"), "{}", kitless.err);
    let pkgdir = format!("pkgdir=@/{tree},@/broken");
    define(&site, "broken", "filesystem\n", &[&pkgdir]);
    site.cli.run("build broken").exited(3).says("/broken` is damaged: `").says("it is no <repomd> document");
}

/// One with an index that is none, one without signatures, one with one signature, and one of which a package was
/// changed and indexed again.
fn repositories_that_are_bad(site: &Site) {
    let install = site.install_dir();
    site.write("broken/repodata/repomd.xml", "this is no XML\n");
    let script = site.write("scripts/three", "#!/bin/sh\necho it says why >&2\nexit 3\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(install.join(medium().otherpkgs()).join("gpfs"), install.join("unsigned")).unwrap();
    let caps = medium().packages_in(&medium().fixtures(), "fixture-caps")[0];
    let mut bytes = fs::read(install.join(&caps.path)).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 0xff;
    fs::create_dir(install.join("tampered")).unwrap();
    fs::write(install.join("tampered").join(caps.path.file_name().unwrap()), bytes).unwrap();
    fs::create_dir(install.join("mixed")).unwrap();
    let gpfs = medium().packages_in(&medium().otherpkgs(), "gpfs.base")[0];
    for package in [caps, gpfs] {
        let name = package.path.file_name().unwrap();
        fs::copy(medium().install().join(&package.path), install.join("mixed").join(name)).unwrap();
    }
    for folder in ["tampered", "mixed"] {
        let made = Command::new("createrepo_c").arg("--quiet").arg(install.join(folder)).status().unwrap();
        assert!(made.success());
    }
}
