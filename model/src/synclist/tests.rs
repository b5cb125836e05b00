//! The rules of XCAT.md 5.2: what is copied, what waits for the node, what is refused.

use std::io;

use super::*;

fn run(text: &str) -> Result<SyncLists, Vec<String>> {
    let mut disk = |path: &Path| match path == Path::new("/l/a") {
        true => Ok(text.as_bytes().to_vec()),
        false => Err(io::ErrorKind::NotFound.into()),
    };
    let environment = [("SITE".to_owned(), "lab".to_owned())].into();
    read(&["/l/a".into()], &environment, &mut disk)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn copies(text: &str) -> Vec<String> {
    let lists = run(text).unwrap();
    let short = |copy: CopyLine| {
        format!("{}>{}{}", copy.sources.join("+"), copy.target, if copy.into_directory { " dir" } else { "" })
    };
    lists.copies.into_iter().map(short).collect()
}

#[test]
fn copy_lines_give_sources_and_a_target() {
    let table = [
        ("# c\n\n/a/b -> /etc/b", "/a/b>/etc/b"),
        ("/a /b  ->  /etc", "/a+/b>/etc dir"),
        ("/a/* -> /etc/", "/a/*>/etc/ dir"),
        ("/a/$SITE/x -> /etc/${SITE}", "/a/lab/x>/etc/lab"),
        ("/srv/APPEND:x -> /etc/MERGE:", "/srv/APPEND:x>/etc/MERGE:"),
        ("/a->/b", "/a>/b"),
    ];
    for (text, expected) in table {
        assert_eq!(copies(text), [expected], "{text}");
    }
}

#[test]
fn what_waits_for_the_node_is_set_apart_and_a_clause_lasts_to_the_next() {
    let text = "/a -> (rack1,rack2) /b\n/c.post /c -> /x/\nEXECUTE:\n/c.post\nEXECUTEALWAYS:\n/c\n\
                APPEND:\n/f -> /etc/fstab\nMERGE:\n/p -> /etc/passwd\n";
    let lists = run(text).unwrap();
    assert_eq!(lists.copies.len(), 1);
    let found: Vec<_> = lists.on_node.iter().map(|line| (line.clause, line.at.as_str())).collect();
    let expected = [
        (Clause::Noderange, "/l/a:1"),
        (Clause::Execute, "/l/a:4"),
        (Clause::ExecuteAlways, "/l/a:6"),
        (Clause::Append, "/l/a:8"),
        (Clause::Merge, "/l/a:10"),
    ];
    assert_eq!(found, expected);
    assert_eq!(lists.warnings, []);
}

#[test]
fn every_bad_line_is_reported() {
    let table = [
        ("/a /b", "this line is not of the form"),
        ("-> /b", "a side of `->` is empty"),
        ("/a ->", "a side of `->` is empty"),
        ("/a -> /b -> /c", "there is more than one `->`"),
        ("a -> /b", "`a` must be an absolute path"),
        ("/a -> b", "the target `b` must be an absolute"),
        ("/a -> /b /c", "there is more than one target"),
        ("/a -> /b/../../c", "the target `/b/../../c` must not hold `..`"),
        ("/a -> (n1 /b", "the noderange is not closed"),
        ("/a -> () /b", "the noderange is empty"),
        ("/a/{x,y} -> /b/", "`/a/{x,y}` holds '{'"),
        ("/a/$NO -> /b", "the variable `$NO` is not set"),
        ("EXECUTE: /a", "`EXECUTE:` stands on a line alone"),
        ("MERGE:\n/a -> /etc/hosts", "`/etc/hosts` can't be merged into"),
        ("EXECUTE:\n/a -> /b", "a script is named by its path alone"),
    ];
    for (text, expected) in table {
        let found = run(text).unwrap_err();
        let message = found[0].split_once(": ").unwrap().1;
        assert!(found.len() == 1 && message.starts_with(expected), "{text}: {found:?}");
    }
    assert_eq!(run("/a\n/b\n").unwrap_err().len(), 2);
}

#[test]
fn what_will_not_happen_is_warned_of() {
    for text in ["#INCLUDE:x#", "  # c", "EXECUTE:\n/a", "EXECUTEALWAYS:\n/a"] {
        assert_eq!(run(text).unwrap().warnings.len(), 1, "{text}");
    }
}
