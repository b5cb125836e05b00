//! Repositories that are hostile or broken: what they would take is bounded, and what is wrong is said once.

use super::*;

/// Indexes with limits that a test comes to.
fn within(each: usize, all: usize) -> Indexes {
    Indexes { living: Living::within(each, all), ..Indexes::default() }
}

#[test]
fn what_would_take_too_much_memory_is_one_problem_with_the_names_of_repository_and_file() {
    let sound = gzip(&primary(ROWS));
    let words = "---\ndocument: modulemd\ndata:\n  name: a\n  stream: b\n- c\n- d\n".repeat(9_000);
    let flow = format!("---\ndocument: modulemd\ndata:\n  name: a\n  stream: b\n  x: [{}]\n", "a,".repeat(90_000));
    let group = format!("<group><id>x</id>{}</group>", "<l><packagereq>y</packagereq></l>".repeat(20_000));
    let pieces = format!("<group><id>{}</id></group>", "<![CDATA[xxxxxxxxxx]]>".repeat(90_000));
    let deep = "<x>".repeat(90_000);
    let own: Vec<String> = (0..9_000).map(|number| format!("a-name-{number}")).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let again = ["a-name"; 90_000];
    let long = "n".repeat(5_000);
    let rpm = |rows: &[Row<'_>]| ("primary", "primary.xml.gz", gzip(&primary(rows)));
    let file = format!("<metadata><package><format><file>{}", "<![CDATA[xxxxxxxxxx]]>".repeat(90_000));
    let table = [
        (("modules", "modules.yaml.gz", gzip(&words)), "what it holds takes more than 1 MiB of memory"),
        (("modules", "modules.yaml.gz", gzip(&flow)), "what it holds takes more than 1 MiB of memory"),
        (("group", "comps.xml.gz", gzip(&format!("<comps>{group}"))), "what it holds takes more than 1 MiB of memory"),
        (("group", "comps.xml.gz", gzip(&format!("<comps>{pieces}"))), "a text of it is longer than 64 KiB"),
        (("group", "comps.xml.gz", gzip(&format!("<comps>{deep}"))), "its elements are nested more than 32 deep"),
        (rpm(&[("a", "1-1.noarch", &own, &[])]), "what it holds takes more than 1 MiB of memory"),
        (rpm(&[("a", "1-1.noarch", &[], &again), ("b", "1-1.noarch", &[], &again)]), "more than 1 MiB of memory"),
        (rpm(&[(&long, "1-1.noarch", &[], &[])]), "a name in it is longer than 4096 bytes"),
        (("primary", "primary.xml.gz", gzip(&file)), "a text of it is longer than 64 KiB"),
    ];
    let indexes = within(1 << 20, 16 << 20);
    for (number, (part, expected)) in table.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("repodata").join(part.1);
        let repository = match part.0 {
            "primary" => rpm_repository_of(dir.path(), [part]),
            _ => rpm_repository_of(dir.path(), [("primary", "sound.xml.gz", sound.clone()), part]),
        };
        let problems = read_with(&indexes, &repository, System::Dnf).expect_err(expected);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let begin = format!("the repository `{}` is damaged: `{}` ", dir.path().display(), name.display());
        assert!(problems[0].starts_with(&begin) && problems[0].contains(expected), "{number}: {problems:?}");
        assert_eq!(indexes.living.taken(), 0, "nothing of it is kept");
    }
}

#[test]
fn a_package_of_apts_with_endless_dependencies_is_refused() {
    let package = "Package: a\nVersion: 1\nArchitecture: all\n";
    let table = [
        (format!("{package}{}", "Depends: x\n".repeat(500_000)), "the dependencies of a package in it are too long"),
        (format!("{package}{}", "Depends:\n".repeat(500_000)), "the dependencies of a package in it are too long"),
        (format!("{package}Depends: {}", "b, ".repeat(90_000)), "what it holds takes more than 1 MiB of memory"),
        (format!("{package}Depends: {}", "b | ".repeat(90_000)), "what it holds takes more than 1 MiB of memory"),
        (format!("{package}Provides: {}", "b, ".repeat(90_000)), "what it holds takes more than 1 MiB of memory"),
        (format!("Package: {}\n", "b".repeat(5 << 20)), "a line of it is too long"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let repository = repository(dir.path(), "./", &[]);
    for (text, expected) in table {
        fs::write(dir.path().join("Packages.gz"), gzip(&text)).unwrap();
        let problems = read_with(&within(1 << 20, 16 << 20), &repository, System::Apt).expect_err(expected);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{expected} is not in {problems:?}");
        let begin = format!("the repository `{0}` is damaged: `{0}/./Packages.gz` ", dir.path().display());
        assert!(problems[0].starts_with(&begin), "{problems:?}");
    }
}

#[test]
fn where_no_memory_is_left_a_repository_is_not_looked_into_and_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let [first, other] = ["a", "b"].map(|name| rpm_repository(&dir.path().join(name), &primary(ROWS)));
    // Room for one and for the bytes that it is read from.
    let indexes = within(1 << 20, 512 << 10);
    let first = read_with(&indexes, &first, System::Dnf).unwrap().unwrap();
    let mut notes = Notes::default();
    let read = |notes: &mut Notes| indexes.read(std::slice::from_ref(&other), System::Dnf, Arch::X86_64, notes);
    assert!(read(&mut notes).is_none() && notes.problems.is_empty());
    let warning = &notes.warnings[0].message;
    assert!(warning.starts_with(&format!("what `{}/b` holds was not looked into", dir.path().display())), "{warning}");
    assert!(first[0].weight() > 0);
}

/// A few names that stand for all there are would be as many places for each time that they are named.
#[test]
fn what_is_named_again_and_again_is_taken_once() {
    let rows: Vec<Row<'_>> = (0..500).map(|_| ("x", "1-1.noarch", [].as_slice(), [].as_slice())).collect();
    let listed = "<packagereq>x</packagereq>".repeat(500);
    let comps = format!("<comps><group><id>g</id><packagelist>{listed}</packagelist></group></comps>");
    let dir = tempfile::tempdir().unwrap();
    let files = [("primary", "primary.xml", primary(&rows).into_bytes()), ("group", "comps.xml", comps.into_bytes())];
    let stocks = read(&rpm_repository_of(dir.path(), files), System::Dnf).unwrap().unwrap();
    let shelf = Shelf::new(stocks.iter().map(Arc::as_ref), System::Dnf);
    let Meaning::Packages(places) = shelf.meaning("@g") else { panic!("it has packages") };
    assert_eq!(places.len(), 500);
}

/// Bytes put in, taken out and exchanged at random, from one seed: whatever comes of it, nothing panics or hangs.
#[test]
fn damaged_documents_are_survived() {
    let texts = [primary(ROWS), COMPS.to_owned(), MODULES.to_owned(), PACKAGES.to_owned()];
    let alphabet = "<>&;()[]:=|,'\"-/ \n\u{e9}@^~?*.0aA".chars().collect::<Vec<_>>();
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for round in 0..4_000 {
        let which = round % texts.len();
        let mut letters: Vec<char> = texts[which].chars().collect();
        for _ in 0..=random(6) {
            let at = random(letters.len());
            match random(3) {
                0 => letters[at] = alphabet[random(alphabet.len())],
                1 => letters.insert(at, alphabet[random(alphabet.len())]),
                _ => drop(letters.remove(at)),
            }
        }
        let text: String = letters.into_iter().collect();
        let mut stock = Stock::default();
        let (document, system) = (text.as_bytes(), if which == 3 { System::Apt } else { System::Dnf });
        match which {
            0 => drop(primary::read(document, Arch::X86_64, &mut stock)),
            1 => drop(comps::read(document, &mut stock)),
            2 => drop(modules::read(document, &mut stock)),
            _ => drop(apt::read(document, Arch::X86_64, &mut stock)),
        }
        let shelf = Shelf::new([&stock], system);
        for name in ["bash-5", "linux.*", "gcc=1", "@core", "@ruby:3", "two"] {
            if let Meaning::Packages(places) = shelf.meaning(name) {
                Closure::of(&shelf, places);
            }
        }
    }
}
