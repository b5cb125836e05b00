//! Includes: where they count from, loops, bounds, and every bad one named.

use super::*;

fn variables() -> BTreeMap<String, String> {
    [("A", "x"), ("AB", "y")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[test]
fn variables_are_replaced_in_both_spellings() {
    let table = [
        ("/a/$A/b", Ok("/a/x/b")),
        ("$AB.${A}B$A", Ok("y.xBx")),
        ("plain", Ok("plain")),
        ("$C", Err("the variable `$C` is not set; set it in environvar")),
        ("${A", Err("`${A` has no closing `}`")),
        ("a$", Err("`$` must be followed by the name of a variable")),
    ];
    for (text, expected) in table {
        assert_eq!(expand(text, &variables()).as_deref().map_err(String::as_str), expected, "{text}");
    }
}

fn read(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let files: BTreeMap<PathBuf, &str> = files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
    let mut disk = |path: &Path| match files.get(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    let variables = variables();
    let mut reader = ListReader::new("pkglist", Some(&variables), &mut disk);
    let lines = reader.lines(Path::new("/l/top"));
    let lines = lines.into_iter().map(|line| format!("{} {}", line.at, line.text)).collect();
    (lines, reader.problems.iter().map(ToString::to_string).collect())
}

#[test]
fn includes_count_from_the_top_files_directory_at_every_depth() {
    let files = [
        ("/l/top", "a\n#INCLUDE:sub/one#\n#INCLUDE:/o/$A#\nz"),
        ("/l/sub/one", "  #INCLUDE:two#\nb"),
        ("/l/two", "c"),
        ("/o/x", "d"),
    ];
    let (lines, problems) = read(&files);
    assert_eq!(lines, ["/l/top:1 a", "/l/two:1 c", "/l/sub/one:2 b", "/o/x:1 d", "/l/top:4 z"]);
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_file_may_be_included_twice_but_a_loop_is_shown() {
    let (lines, problems) = read(&[("/l/top", "#INCLUDE:a#\n#INCLUDE:a#"), ("/l/a", "x")]);
    assert_eq!((lines.len(), problems.len()), (2, 0));
    let (_, problems) = read(&[("/l/top", "#INCLUDE:a#"), ("/l/a", "\n#INCLUDE:b#"), ("/l/b", "#INCLUDE:a#")]);
    assert_eq!(problems, ["/l/b:1: include loop: `/l/a` -> `/l/b` -> `/l/a`; remove one of the includes"]);
    let (_, problems) = read(&[("/l/top", "#INCLUDE:../l/top#"), ("/l/../l/top", "#INCLUDE:top#")]);
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn every_bad_include_is_reported_where_it_stands() {
    let text = "#INCLUDE:gone#\n#INCLUDE:open\n#INCLUDE:a# x\n#INCLUDE: #\n#INCLUDE:$Q#\n\u{7}\nend";
    let (lines, problems) = read(&[("/l/top", text)]);
    let expected = [
        "/l/top:1: cannot open /l/gone: there is no such file",
        "/l/top:2: this include is not closed; write `#INCLUDE:path#`",
        "/l/top:3: `x` follows the include on its line; give it a line of its own",
        "/l/top:4: this include names no file",
        "/l/top:5: the variable `$Q` is not set; set it in environvar",
        "/l/top:6: this line holds '\\u{7}'; is it a text file?",
    ];
    assert_eq!(problems, expected);
    assert_eq!(lines, ["/l/top:7 end"]);
    assert_eq!(read(&[]).1, ["The pkglist specified '/l/top' does not exist!"]);
}

#[test]
fn lists_that_grow_without_end_are_cut_off_and_said_once() {
    let names: Vec<String> = (0..30).map(|n| format!("/l/{n}")).collect();
    let texts: Vec<String> = (0..30).map(|n| format!("#INCLUDE:{}#\n#INCLUDE:{}#", n + 1, n + 1)).collect();
    let mut files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    files.extend([("/l/top", "#INCLUDE:0#"), ("/l/30", "x")]);
    let files: BTreeMap<PathBuf, &str> = files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
    let mut reads = 0;
    let mut disk = |path: &Path| {
        reads += 1;
        Ok(files[path].as_bytes().to_vec())
    };
    let mut reader = ListReader::new("pkglist", None, &mut disk);
    reader.lines(Path::new("/l/top"));
    let problems: Vec<_> = reader.problems.iter().map(ToString::to_string).collect();
    assert_eq!((problems.len(), reads), (1, MAX_FILES));
    assert!(problems[0].contains("the list comes to more than 2000 files"), "{problems:?}");
}
