//! The rules of XCAT.md 3, one table each.

use std::io;
use std::path::Path;

use super::*;

fn run(list: List, files: &[(&str, &str)], tops: &[&str]) -> Result<PackageLists, Vec<String>> {
    let files: BTreeMap<PathBuf, &str> = files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
    let mut disk = |path: &Path| match files.get(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    let tops: Vec<PathBuf> = tops.iter().map(PathBuf::from).collect();
    let environment = [("SITE".to_owned(), "site".to_owned())].into();
    read(list, &tops, &environment, &mut disk).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// A pass in short: `-before +install --after`, sub-directories in front.
fn short(pass: &Pass) -> String {
    let group = |sign: &str, items: &[PackageItem]| -> Vec<String> {
        let dir = |item: &PackageItem| item.subdir.as_ref().map(|dir| format!("{dir}/")).unwrap_or_default();
        items.iter().map(|item| format!("{sign}{}{}", dir(item), item.name)).collect()
    };
    let parts = [group("-", &pass.remove_before), group("", &pass.install), group("--", &pass.remove_after)];
    parts.concat().join(" ")
}

fn passes(list: List, text: &str) -> Vec<String> {
    run(list, &[("/l/a", text)], &["/l/a"]).unwrap().passes.iter().map(short).collect()
}

fn problems(text: &str) -> Vec<String> {
    run(List::Other, &[("/l/a", text)], &["/l/a"]).unwrap_err()
}

fn warnings(list: List, text: &str) -> Vec<String> {
    run(list, &[("/l/a", text)], &["/l/a"]).unwrap().warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn lines_give_names_however_they_are_separated() {
    let table = [
        ("# comment\n\n  # indented\nvim\n", vec!["vim"]),
        ("a,b\nc d\te , f\r\n a", vec!["a b c d e f"]),
        (
            "bash=5.2-1\ngcc-c++\nkernel-5.14.0-70.el9.x86_64\nlibfoo:i386\nkernel*",
            vec!["bash=5.2-1 gcc-c++ kernel-5.14.0-70.el9.x86_64 libfoo:i386 kernel*"],
        ),
        ("@^minimal\n@nodejs:18\n@Development Tools, vim", vec!["@^minimal @nodejs:18 @Development Tools vim"]),
        ("-a\n--b\nc, -d\nx/y/e\n./f", vec!["-a -d c x/y/e f --b"]),
        ("a\n#NEW_INSTALL_LIST#\n#NEW_INSTALL_LIST#\nb\n#NEW_INSTALL_LIST#\n", vec!["a", "b"]),
        ("", vec![]),
    ];
    for (text, expected) in table {
        assert_eq!(passes(List::Other, text), expected, "{text:?}");
    }
}

#[test]
fn the_example_of_the_specification_gives_its_two_passes() {
    let extra = "#INCLUDE:common/$SITE.otherpkgs.pkglist#\n#ENV:ACCEPT_EULA=1#\n-firewalld\nmofed/mlnx-ofed-basic\n\
                 gpfs/gpfs.base\n#NEW_INSTALL_LIST#\ngpfs/gpfs.gplbin\n--kernel-devel\n";
    let files = [("/srv/lists/extra", extra), ("/srv/lists/common/site.otherpkgs.pkglist", "site-tools\n")];
    let lists = run(List::Other, &files, &["/srv/lists/extra"]).unwrap();
    let found: Vec<_> = lists.passes.iter().map(short).collect();
    assert_eq!(
        found,
        ["-firewalld site-tools mofed/mlnx-ofed-basic gpfs/gpfs.base", "gpfs/gpfs.gplbin --kernel-devel"]
    );
    assert_eq!(lists.passes[0].environment, [("ACCEPT_EULA".to_owned(), "1".to_owned())].into());
    assert!(lists.passes[1].environment.is_empty());
    assert_eq!(lists.passes[0].install[0].at, "/srv/lists/common/site.otherpkgs.pkglist:1");
    assert_eq!(lists.files.len(), 2);
}

#[test]
fn passes_of_one_number_merge_over_the_files() {
    let files =
        [("/l/a", "a1\n#NEW_INSTALL_LIST#\na2"), ("/l/b", "b1\n#INCLUDE:c#\nb2"), ("/l/c", "#NEW_INSTALL_LIST#")];
    let lists = run(List::Os, &files, &["/l/a", "/l/b"]).unwrap();
    assert_eq!(lists.passes.iter().map(short).collect::<Vec<_>>(), ["a1 b1", "a2 b2"]);
}

#[test]
fn an_environment_keeps_quoted_blanks() {
    let lists = run(List::Os, &[("/l/a", "#ENV:A=1 B='x y' C=\"\"#\nv")], &["/l/a"]).unwrap();
    let expected = [("A", "1"), ("B", "x y"), ("C", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(lists.passes[0].environment, expected.into());
}

#[test]
fn what_a_shell_would_act_on_is_refused_with_its_line() {
    let table = [
        ("vim # editor", "/l/a:1: a comment must stand on a line of its own"),
        ("vim#editor", "/l/a:1: `vim#editor` holds `#`"),
        ("a;reboot", "/l/a:1: `a;reboot` holds ';'"),
        ("$(id)", "/l/a:1: `$(id)` holds '$'"),
        ("a>=1", "/l/a:1: `a>=1` holds '>'"),
        ("\"quoted\"", "/l/a:1: "),
        ("vim -emacs", "/l/a:1: `-emacs` stands behind another entry"),
        ("--setopt=x", "/l/a:1: `--setopt=x` looks like an option"),
        ("-a b", "/l/a:1: `-a b`: a removal takes one name"),
        ("---a", "/l/a:1: `-a` stands behind"),
        ("--", "/l/a:1: `--` names no package"),
        ("-", "/l/a:1: `-` names no package"),
        ("../x/y", "/l/a:1: `../x/y` leaves otherpkgdir"),
        ("/abs/y", "/l/a:1: `/abs/y` is a path"),
        ("a//b", "/l/a:1: `a//b` leaves otherpkgdir or holds"),
        ("sub/", "/l/a:1: `sub/` is not the name"),
        ("=x", "/l/a:1: `=x` is not the name"),
        ("foo-", "/l/a:1: `foo-` ends in `-`"),
        ("#NEW_INSTALL_LIST# vim", "/l/a:1: `vim` follows `#NEW_INSTALL_LIST#`"),
        ("#ENV:A=1# vim", "/l/a:1: `vim` follows `#ENV:…#`"),
        ("#ENV:A=1", "/l/a:1: this directive is not closed"),
        ("#ENV:A#", "/l/a:1: `A` is not of the form"),
        ("#ENV:A=$B#", "/l/a:1: '$' would be acted on"),
        ("#ENV:A='x#", "/l/a:1: the quote ' is not closed"),
        ("#ENV:#", "/l/a:1: this directive sets nothing"),
    ];
    for (text, expected) in table {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text:?}: {found:?}");
    }
}

#[test]
fn problems_of_all_lines_and_files_come_together_once_each() {
    let files = [("/l/a", "x;\n#INCLUDE:b#\n#INCLUDE:b#\n#INCLUDE:gone#"), ("/l/b", "y|")];
    let found = run(List::Os, &files, &["/l/a", "/l/none"]).unwrap_err();
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.contains(&"The pkglist specified '/l/none' does not exist!".to_owned()), "{found:?}");
}

#[test]
fn what_xcat_would_misread_is_taken_and_warned_of() {
    let table = [
        (List::Other, " -emacs", "-emacs", "is taken as a removal"),
        (List::Other, " #ENV:A=1#\nv", "v", "xCAT would not see it"),
        (List::Other, "# INCLUDE:x#\nv", "v", "taken as a comment"),
        (List::Other, "#include:x#\nv", "v", "taken as a comment"),
        (List::Other, "@core vim", "@core vim", "one group"),
        (List::Other, "#ENV:A=1#\n#ENV:A=2#\nv", "v", "`2` is used"),
        (List::Os, "-emacs\nv", "v", "no effect in a pkglist"),
        (List::Os, "sub/v", "v", "the directory `sub`"),
    ];
    for (list, text, pass, warning) in table {
        assert_eq!(passes(list, text), [pass], "{text:?}");
        let found = warnings(list, text);
        assert!(found.len() == 1 && found[0].contains(warning), "{text:?}: {found:?}");
    }
    assert!(warnings(List::Other, "# a comment\n## INCLUDE\n#\nvim").is_empty());
}
