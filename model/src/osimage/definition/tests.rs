//! Changes of definitions: whole or not at all, with every bad one named.

use super::*;

fn changes(words: &[&str]) -> Vec<AttributeChange> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

fn osimage(words: &[&str]) -> Osimage {
    Osimage::create("a".parse().unwrap(), &changes(words), 7).unwrap()
}

fn texts(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_new_definition_is_linux_unless_it_says_otherwise() {
    let made = osimage(&["pkglist=/a"]);
    assert_eq!((made.get("imagetype"), made.get("osname"), made.revision), (Some("linux"), Some("Linux"), 1));
    let refused = Osimage::create("a".parse().unwrap(), &changes(&["imagetype=windows", "pkglist=/a"]), 0);
    let expected = "Cannot set the attr='pkglist' attribute unless imagetype value is linux.";
    assert_eq!(texts(refused.unwrap_err()), [expected]);
}

#[test]
fn items_are_added_once_and_removed_only_when_there() {
    let mut made = osimage(&["pkglist=/a,/b"]);
    made.apply(&changes(&["pkglist+=/b,/c", "exlist+=/x"])).unwrap();
    assert_eq!((made.get("pkglist"), made.get("exlist")), (Some("/a,/b,/c"), Some("/x")));
    made.apply(&changes(&["pkglist-=/b", "exlist-=/x"])).unwrap();
    assert_eq!((made.get("pkglist"), made.get("exlist")), (Some("/a,/c"), None));
    let refused = texts(made.apply(&changes(&["pkglist-=/q"])).unwrap_err());
    assert_eq!(refused, ["/q is not in the attribute of 'pkglist' for the 'a' definition."]);
}

#[test]
fn one_bad_change_stops_all_and_every_bad_one_is_named() {
    let mut made = osimage(&["pkglist=/a"]);
    let before = made.clone();
    let refused = made.apply(&changes(&["profile=compute", "pkglst=/b", "osarch=vax", "imagename=x"]));
    let refused = texts(refused.unwrap_err());
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(refused[0].ends_with("did you mean `pkglist`?") && refused[2].contains("renaming"), "{refused:?}");
    assert_eq!(made, before);
}

#[test]
fn clearing_imagetype_is_refused_while_linux_attributes_are_set() {
    let mut made = osimage(&["pkglist=/a", "exlist=/x"]);
    assert_eq!(made.apply(&changes(&["imagetype="])).unwrap_err().len(), 2);
    made.apply(&changes(&["imagetype=", "pkglist=", "exlist="])).unwrap();
}

#[test]
fn definitions_that_share_a_root_image_directory_are_warned_of() {
    let words = ["osvers=debian12", "osarch=x86_64", "profile=compute", "provmethod=netboot"];
    let own = osimage(&words);
    let mut twin = own.clone();
    twin.name = "b".parse().unwrap();
    let mut apart = twin.clone();
    apart.apply(&changes(&["rootimgdir=/install/netboot/apart"])).unwrap();
    let warnings = texts(own.warnings([&own, &twin, &apart], Path::new("/install")));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("`/install/netboot/debian12/x86_64/compute` is also that of `b`"), "{warnings:?}");
    let bare = osimage(&["provmethod=netboot"]);
    assert_eq!(bare.warnings([], Path::new("/install")).len(), 3);
}

#[test]
fn a_repository_with_options_is_one_item() {
    let made = osimage(&["pkgdir=[trusted=yes,signed-by=/k] /a,http://b/c d e"]);
    assert_eq!(made.list("pkgdir"), ["[trusted=yes,signed-by=/k] /a", "http://b/c d e"]);
}

#[test]
fn a_rootimgdir_of_another_architecture_is_warned_of() {
    let base = ["provmethod=netboot", "osvers=debian12", "profile=c", "osarch=ppc64le"];
    let told = |dir: &str| {
        let made = osimage(&[&base[..], &[dir]].concat());
        texts(made.warnings([], Path::new("/install")))
    };
    let expected = "rootimgdir `/install/netboot/debian12/x86_64/c2` lies below `x86_64`, but osarch is ppc64le; set rootimgdir, \
        or clear it for the usual place";
    assert_eq!(told("rootimgdir=/install/netboot/debian12/x86_64/c2"), [expected]);
    for good in
        ["/install/netboot/debian12/ppc64el/c2", "/install/netboot/debian12/ppc64le/c2", "/install/x86_64-and-more"]
    {
        assert!(told(&format!("rootimgdir={good}")).is_empty(), "{good}");
    }
}

#[test]
fn an_interface_that_is_no_name_is_refused() {
    for bad in ["otherifce=eth1,../../cron.d/x", "otherifce=$(id)", "otherifce=a b", "nodebootif=../x"] {
        let refused = Osimage::create("a".parse().unwrap(), &changes(&[bad]), 0).unwrap_err();
        assert!(texts(refused)[0].contains("must not hold"), "{bad}");
    }
    assert_eq!(osimage(&["otherifce=eth1,enP2p1s0f0.100,bond0:1"]).list("otherifce").len(), 3);
}
