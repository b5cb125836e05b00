//! `imgctl osimage`: definitions with xCAT's names, stanza files, revisions.

use tests::{Cli, Site};

/// A definition with nothing behind it.
fn define(cli: &Cli, name: &str) {
    cli.ok(&format!("osimage create {name} provmethod=netboot osvers=debian12 osarch=x86_64 profile=compute"));
}

fn attribute(cli: &Cli, name: &str, attribute: &str) -> Option<String> {
    let shown = cli.json(&format!("osimage show {name}"));
    let osimage = shown.as_array().map_or(&shown, |list| &list[0]);
    osimage["attributes"][attribute].as_str().map(str::to_owned)
}

#[test]
fn attributes_are_set_appended_removed_and_cleared() {
    let site = Site::start();
    let cli = &site.cli;
    define(cli, "a");
    cli.ok("osimage set a pkglist=/l/one exlist=/l/x");
    cli.ok("osimage set a pkglist+=/l/two,/l/one");
    assert_eq!(attribute(cli, "a", "pkglist").as_deref(), Some("/l/one,/l/two"));
    cli.ok("osimage set a pkglist-=/l/one exlist=");
    assert_eq!(attribute(cli, "a", "pkglist").as_deref(), Some("/l/two"));
    assert_eq!(attribute(cli, "a", "exlist"), None);
    cli.run("osimage set a pkglist-=/l/nine").exited(3).says("/l/nine");
}

#[test]
fn an_unknown_attribute_is_refused_with_the_nearest_name_and_nothing_is_written() {
    let site = Site::start();
    let cli = &site.cli;
    define(cli, "a");
    cli.run("osimage set a comments=x pkglst=/l/one osarch=vax").exited(3).says("pkglist").says("vax");
    assert_eq!(attribute(cli, "a", "comments"), None);
    cli.run("osimage create b pkglst=/l/one").exited(3).says("pkglist");
    cli.run("osimage show b").exited(3).says("there is no osimage `b`");
    define(cli, "compute");
    cli.run("osimage show compte").exited(3).says("did you mean `compute`");
    cli.run("osimage create a/b profile=x").exited(2).says("must not hold");
}

#[test]
fn of_two_writers_on_one_revision_the_second_is_told() {
    let site = Site::start();
    let cli = &site.cli;
    define(cli, "a");
    cli.ok("osimage set a --revision 1 comments=first");
    cli.run("osimage set a --revision 1 comments=second").exited(3).says("revision 2");
    assert_eq!(attribute(cli, "a", "comments").as_deref(), Some("first"));
}

#[test]
fn every_bad_line_of_a_stanza_file_is_reported_and_nothing_is_written() {
    let site = Site::start();
    let file = site.path("bad.stanza");
    let text = "good:\n    objtype=osimage\n    profile=compute\n\nbad:\n    objtype=osimage\n    no equals sign\n    pkglst=/x\n\n=x:\n";
    std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let ran = site.cli.run_args(&["osimage", "import", &path], b"").exited(3);
    for line in [7, 8, 10] {
        assert!(ran.err.contains(&format!("bad.stanza:{line}:")), "line {line} is not in\n{}", ran.err);
    }
    assert_eq!(site.cli.json("osimage list"), serde_json::json!([]));
    site.cli.run_args(&["osimage", "import", "-"], b"\xff\xfe:\n").exited(3).says(":1:");
    site.cli.run_args(&["osimage", "import", "/no/such/file"], b"").exited(2).says("/no/such/file");
}

#[test]
fn an_exported_definition_with_another_name_is_a_clone() {
    let site = Site::start();
    let cli = &site.cli;
    let args = [
        "osimage",
        "create",
        "A",
        "profile=compute",
        "provmethod=netboot",
        "osvers=rhels9.4",
        "osarch=ppc64le",
        "addkcmdline=console=ttyS1,115200 quiet",
        "pkglist=/l/a,/l/b",
    ];
    cli.run_args(&args, b"").succeeded();
    let exported = cli.ok("osimage export A");
    assert!(exported.starts_with("# <xCAT data object stanza file>\n\nA:\n    objtype=osimage\n"), "{exported}");
    let renamed: String =
        exported.lines().map(|line| if line == "A:" { "B:\n".into() } else { format!("{line}\n") }).collect();
    cli.run_args(&["osimage", "import", "-"], renamed.as_bytes()).succeeded().says("root image directory");
    assert_eq!(cli.ok("osimage export B"), renamed);
    cli.run_args(&["osimage", "import", "-"], renamed.as_bytes()).exited(3).says("--replace");
    cli.run_args(&["osimage", "import", "--replace", "-"], renamed.as_bytes()).succeeded();
}

#[test]
fn copies_get_a_rootimgdir_of_their_own_and_renamed_ones_keep_theirs() {
    let site = Site::start();
    let cli = &site.cli;
    define(cli, "a");
    cli.ok("osimage copy a b");
    let own = attribute(cli, "b", "rootimgdir").unwrap();
    assert!(own.ends_with("/netboot/debian12/x86_64/b"), "{own}");
    cli.ok("osimage rename b c");
    assert_eq!(attribute(cli, "c", "rootimgdir"), Some(own));
    cli.run("osimage rename a c").exited(3).says("already");
    cli.run("osimage rm a nonesuch").exited(3).says("nonesuch");
    cli.ok("osimage rm a c");
    assert_eq!(cli.json("osimage list"), serde_json::json!([]));
}

#[test]
fn definitions_survive_a_killed_coordinator() {
    let mut site = Site::start();
    define(&site.cli, "a");
    site.coordinator().kill();
    site.start_coordinator();
    assert_eq!(attribute(&site.cli, "a", "profile").as_deref(), Some("compute"));
}

#[test]
fn a_definition_is_filled_in_from_its_profile_and_what_is_said_wins() {
    let site = Site::start();
    let cli = &site.cli;
    let list = site.write("custom/netboot/debian/compute.pkglist", "dracut\n");
    cli.ok("osimage create -u a profile=compute provmethod=netboot osvers=debian12 osarch=x86_64 otherpkgdir=/o");
    assert_eq!(attribute(cli, "a", "pkglist"), Some(list.display().to_string()));
    assert_eq!(attribute(cli, "a", "otherpkgdir").as_deref(), Some("/o"));
    assert_eq!(attribute(cli, "a", "osdistroname").as_deref(), Some("debian12-x86_64"));
    cli.run("osimage create -u b osvers=debian12").exited(3).says("profile and provmethod");
    cli.run("osimage show b").exited(3);
}

#[test]
fn xcats_unsigned_repositories_are_taken_only_when_asked_for_and_each_is_named() {
    let site = Site::start();
    let text = b"a:\n    objtype=osimage\n    profile=compute\n    pkgdir=/install/debian12/x86_64\n";
    site.cli.run_args(&["osimage", "import", "-"], text).succeeded();
    assert_eq!(attribute(&site.cli, "a", "pkgdir").as_deref(), Some("/install/debian12/x86_64"));
    let ran = site.cli.run_args(&["osimage", "import", "--replace", "--xcat", "-"], text).succeeded();
    ran.says("signatures of `/install/debian12/x86_64` are not checked");
    assert_eq!(attribute(&site.cli, "a", "pkgdir").as_deref(), Some("[trusted=yes] /install/debian12/x86_64"));
}

#[test]
fn what_xcat_updates_is_updated_and_what_we_export_keeps_its_meaning() {
    let site = Site::start();
    let text = b"a:\n    objtype=osimage\n    profile=compute\n    otherpkglist=/install/o\n";
    site.cli.run_args(&["osimage", "import", "-"], text).succeeded().says("update of `a` is set to `otherpkgs`");
    assert_eq!(attribute(&site.cli, "a", "update").as_deref(), Some("otherpkgs"));
    site.cli.ok("osimage create b profile=compute otherpkglist=/install/o");
    let exported = site.cli.ok("osimage export b");
    assert!(exported.contains("    update=no\n"), "{exported}");
    site.cli.run_args(&["osimage", "import", "--replace", "-"], exported.as_bytes()).succeeded();
    assert_eq!(attribute(&site.cli, "b", "update").as_deref(), Some("no"));
}
