//! `imgctl resolve`: the whole plan, or everything that is wrong, before anything is built.

use std::fs;

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
