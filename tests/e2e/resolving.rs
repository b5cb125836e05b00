//! `imgctl resolve`: the whole plan, or everything that is wrong, before anything is built.

use std::fs;

use tests::el9::medium;
use tests::{Site, arch, debian, mirrors};

#[test]
fn a_plan_shows_passes_repositories_scripts_and_where_each_value_came_from() {
    let site = Site::start();
    site.write("lists/common/base.pkglist", "dracut\n#INCLUDE:more/net.pkglist#\n");
    site.write("lists/more/net.pkglist", "iproute2\n");
    let script = site.write("scripts/post.sh", "#!/bin/sh\ntrue\n");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let packages = "linux-image-amd64\n#INCLUDE:common/base.pkglist#\n#NEW_INSTALL_LIST#\n#ENV:A=1 B=2#\nvim,curl\n";
    site.osimage("a", packages, &[format!("postinstall={} one two", script.display())]);
    let plan = site.cli.json("resolve a");
    let names = |pass: usize| -> Vec<String> {
        let items = plan["passes"][pass]["install"].as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(0), ["linux-image-amd64", "dracut", "iproute2"]);
    assert_eq!(names(1), ["vim", "curl"]);
    assert_eq!(plan["passes"][1]["environment"], serde_json::json!({"A": "1", "B": "2"}));
    assert!(plan["passes"][0]["install"][2]["at"].as_str().unwrap().ends_with("more/net.pkglist:1"));
    assert_eq!(plan["postinstall"][0]["args"], serde_json::json!(["one", "two"]));
    assert_eq!(plan["packages"]["suite"], debian().0);
    let origin = |name: &str| {
        let all = plan["attributes"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["origin"]["kind"].as_str().unwrap().to_owned()
    };
    assert_eq!((origin("pkglist"), origin("rootimgdir")), ("given".into(), "default".into()));
    let human = site.cli.ok("resolve a");
    for part in ["linux-image-amd64", "iproute2", "post.sh", "rootimgdir"] {
        assert!(human.contains(part), "{part} is not in\n{human}");
    }
}

#[test]
fn everything_that_is_wrong_is_reported_at_once_by_file_and_line() {
    let site = Site::start();
    site.write("lists/loop.pkglist", "a\n#INCLUDE:loop2.pkglist#\n");
    site.write("lists/loop2.pkglist", "#INCLUDE:loop.pkglist#\n");
    let lists = site.install_dir().join("lists");
    let attributes = [
        format!("pkglist={0}/bad.pkglist,{0}/loop.pkglist,{0}/missing.pkglist", lists.display()),
        format!("exlist={}/missing.exlist", lists.display()),
        "postinstall=/no/such/script".to_owned(),
    ];
    site.write("lists/bad.pkglist", "fine\nvim # an editor\n#INCLUDE:nowhere.pkglist#\nrm;reboot\n");
    site.osimage("a", "x\n", &attributes);
    let ran = site.cli.run("resolve a").exited(3);
    for expected in [
        "bad.pkglist:2",
        "bad.pkglist:3",
        "bad.pkglist:4",
        "loop",
        "missing.pkglist",
        "missing.exlist",
        "/no/such/script",
    ] {
        assert!(ran.err.contains(expected), "{expected} is not in\n{}", ran.err);
    }
    site.cli.run("build a").exited(3).says("bad.pkglist:2");
    assert_eq!(site.cli.json("builds list"), serde_json::json!([]));
}

#[test]
fn a_pkglist_that_is_not_given_is_searched_for_the_way_xcat_does() {
    let site = Site::start();
    let (_, version) = debian();
    let found = site.write(&format!("custom/netboot/debian/hpc.debian{version}.{}.pkglist", arch()), "dracut\n");
    site.write("custom/netboot/debian/hpc.pkglist", "other\n");
    let args = [
        "osimage".to_owned(),
        "create".into(),
        "a".into(),
        "provmethod=netboot".into(),
        format!("osvers=debian{version}"),
        format!("osarch={}", arch()),
        "profile=hpc".into(),
        format!("pkgdir={}", mirrors()),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    site.cli.run_args(&args, b"").succeeded();
    let plan = site.cli.json("resolve a");
    let at = plan["passes"][0]["install"][0]["at"].as_str().unwrap();
    assert_eq!(at, format!("{}:1", found.display()));
}

/// What is in none of the repositories, what is damaged, and an image that could not boot: all of it is known before
/// anything is dispatched, where the repositories are local.
#[test]
fn what_local_rpm_repositories_hold_is_known_before_dispatch() {
    let site = Site::start();
    medium().lay_into(site.install_dir());
    let tree = medium().tree().display().to_string();
    let define = |name: &str, packages: &str, more: &[&str]| {
        let list = site.write(&format!("lists/{name}.pkglist"), packages);
        let mut args = vec!["osimage".to_owned(), "create".into(), name.into(), "provmethod=netboot".into()];
        args.extend([format!("osvers={}", medium().osver()), format!("osarch={}", medium().arch())]);
        args.extend([format!("profile={name}"), format!("pkglist={}", list.display())]);
        let root = site.install_dir().display().to_string();
        args.extend(more.iter().map(|word| word.replace('@', &root).replace("TREE", &tree)));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        site.cli.run_args(&args, b"").succeeded();
    };
    let stock = fs::read_to_string(medium().stock_list()).unwrap();
    let fixtures = format!("pkgdir=@/TREE,@/{}", medium().fixtures().display());
    let other = [
        fixtures.as_str(),
        "otherpkglist=@/lists/other",
        &format!("otherpkgdir=[trusted=yes] @/{}", medium().otherpkgs().display()),
    ];
    site.write("lists/other", "mofed/mofed-basic\ngpfs/gpfs.base\ngpfs/gpfs.bse\n");

    define("sound", &format!("{stock}fixture-versions-1.0\n@fixture-tool:2/common\n"), &[&fixtures]);
    assert_eq!(site.cli.json("resolve sound")["warnings"], serde_json::json!([]));

    define("names", &format!("{stock}bsah\n@cor\n@fixture-tool:9\nfixture-versions-7\n"), &other);
    let refused = site.cli.run("build names").exited(3);
    let lines = stock.lines().count();
    let lists = site.install_dir().join("lists").display().to_string();
    for (line, words) in [
        (1, "`bsah` is in none of the repositories; did you mean `bash`?"),
        (2, "group `@cor` is in none of the repositories; did you mean `@core`?"),
        (3, "module stream `@fixture-tool:9` is in none of the repositories; of `fixture-tool` there is 1, 2"),
        (4, "`fixture-versions-7` is in none of the repositories; of `fixture-versions` there is 1.0-"),
    ] {
        let expected = format!("{lists}/names.pkglist:{}: {words}", lines + line);
        assert!(refused.err.contains(&expected), "{expected} is not in\n{}", refused.err);
    }
    let expected = format!("{lists}/other:3: `gpfs.bse` is in none of the repositories; did you mean `gpfs.base`?");
    assert!(refused.err.contains(&expected), "{expected} is not in\n{}", refused.err);

    define("unbootable", "bash\ncoreutils\n", &["pkgdir=@/TREE"]);
    let refused = site.cli.run("build unbootable").exited(3);
    for words in ["the kernel that nodes boot; add kernel to", "building the initrd; add dracut to", "add nfs-utils to"]
    {
        assert!(refused.err.contains(words), "{words} is not in\n{}", refused.err);
    }

    define("kernel", &stock, &["pkgdir=@/TREE", "kernelver=5.14.0-1.el9.x86_64"]);
    let there = format!("{}.{}", medium().package("kernel-core").version_release(), medium().arch());
    site.cli
        .run("resolve kernel")
        .exited(3)
        .says("Cannot find the kernel package with version 5.14.0-1.el9.x86_64. The repositories hold ")
        .says(&there);

    // A URL may hold anything, so nothing is refused; what nothing names is a warning.
    define("url", "bash\nbsah\n", &["pkgdir=@/TREE,http://127.0.0.1:9/x"]);
    let warnings = site.cli.json("resolve url")["warnings"].to_string();
    assert!(warnings.contains("no list names `dracut`"), "{warnings}");
    assert_eq!(site.cli.json("builds list"), serde_json::json!([]));

    // The same list again, after the index was damaged.
    let repodata = site.install_dir().join(&tree).join("AppStream/repodata");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().path();
    let primary = fs::read_dir(&repodata).unwrap().map(name).find(|path| path.to_string_lossy().contains("primary"));
    let primary = primary.unwrap();
    let bytes = fs::read(&primary).unwrap();
    fs::remove_file(&primary).unwrap();
    fs::write(&primary, &bytes[..bytes.len() / 2]).unwrap();
    let refused = site.cli.run("resolve sound").exited(3);
    assert!(refused.err.contains("AppStream` is damaged: `"), "{}", refused.err);
    assert_eq!(refused.err.matches("error:").count(), 1, "{}", refused.err);
}

/// The same for apt, with a repository of names alone; it is never installed from.
#[test]
fn what_local_apt_repositories_hold_is_known_before_dispatch() {
    let site = Site::start();
    let package = |name: &str, more: &str| format!("Package: {name}\nVersion: 1.2\nArchitecture: all\n{more}\n");
    let mut packages: String = ["nfs-common", "curl", "procps", "isc-dhcp-client", "initramfs-tools", "dracut"]
        .map(|name| package(name, "Provides: linux-initramfs-tool\n"))
        .concat();
    packages += &package("dracut-network", "Depends: isc-dhcp-client | dhcpcd\n");
    packages += &package("linux-image-6.1.0-9", "Depends: initramfs-tools (>= 1) | linux-initramfs-tool\n");
    packages += &package("node", "Depends: curl, nfs-common, procps, dracut-network, linux-image-6.1.0-9\n");
    packages += &package("bare-network", "Provides: dracut-network\n");
    site.write("local/Packages", &packages);
    let pkgdir = format!("pkgdir=[trusted=yes] {} ./", site.install_dir().join("local").display());

    site.osimage("sound", "node\ndracut\n", std::slice::from_ref(&pkgdir));
    assert_eq!(site.cli.json("resolve sound")["warnings"], serde_json::json!([]));

    // The kernel's own choice is initramfs-tools.
    site.osimage("unbootable", "node\n", std::slice::from_ref(&pkgdir));
    let refused = site.cli.run("resolve unbootable").exited(3).says("building the initrd; add dracut to the pkglist");
    assert_eq!(refused.err.matches("error:").count(), 1, "{}", refused.err);

    // apt takes it for a regular expression, which isn't worked out here; it brings the kernel.
    let list = "linuxx*-image\ndracut\ndracut-network\ncurl\nnfs-common\nprocps\nisc-dhcp-client\n";
    site.osimage("pattern", list, std::slice::from_ref(&pkgdir));
    let warnings = site.cli.json("resolve pattern")["warnings"].to_string();
    assert!(warnings.contains("no list names `linux-image-*`"), "{warnings}");

    // procps alone gets no address.
    let list = "linux-image-6.1.0-9\ndracut\nbare-network\ncurl\nnfs-common\nprocps\n";
    site.osimage("deaf", list, std::slice::from_ref(&pkgdir));
    let refused = site.cli.run("resolve deaf").exited(3).says("getting an address in the initrd; add isc-dhcp-client");
    assert_eq!(refused.err.matches("error:").count(), 1, "{}", refused.err);

    site.osimage("names", "node\ndracut\ncrul\ncurl=9\n", std::slice::from_ref(&pkgdir));
    // Packing installs nothing.
    let packed = site.cli.run("packimage names").exited(3);
    assert!(!packed.err.contains("none of the repositories"), "{}", packed.err);
    site.cli
        .run("resolve names")
        .exited(3)
        .says("names.pkglist:3: `crul` is in none of the repositories; did you mean `curl`?")
        .says("names.pkglist:4: `curl=9` is in none of the repositories; of `curl` there is 1.2");

    site.osimage("kernel", "node\ndracut\n", &[pkgdir, "kernelver=6.1.0-8".to_owned()]);
    let refused = site.cli.run("resolve kernel").exited(3);
    let expected = "Cannot find the kernel package with version 6.1.0-8. The repositories hold 6.1.0-9;";
    assert!(refused.err.contains(expected), "{}", refused.err);
    assert_eq!(refused.err.matches("error:").count(), 1, "{}", refused.err);
}
