//! The rules of XCAT.md 1.5 one by one, and that what is written is read back.

use super::*;

fn objects(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let stanzas = read("f", text.as_bytes()).unwrap();
    let values = |stanza: Stanza| stanza.attributes.into_iter().map(|(name, value)| (name, value.value)).collect();
    stanzas.into_iter().map(|stanza| (stanza.name.clone(), values(stanza))).collect()
}

fn one(text: &str) -> Vec<(String, String)> {
    objects(&format!("a:\n objtype=osimage\n{text}\n")).remove(0).1
}

fn problems(text: &[u8]) -> Vec<String> {
    read("f", text).unwrap_err().iter().map(ToString::to_string).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn values_are_split_at_the_first_equals_sign_and_lose_one_pair_of_quotes() {
    let table: [(&str, &[(&str, &str)]); 7] = [
        ("\tpkglist = /a , /b \r", &[("pkglist", "/a , /b")]),
        ("addkcmdline=console=ttyS1,115200 quiet", &[("addkcmdline", "console=ttyS1,115200 quiet")]),
        ("comments=b # c", &[("comments", "b # c")]),
        ("comments=\"in quotes:\"", &[("comments", "in quotes:")]),
        ("comments='single'", &[("comments", "'single'")]),
        ("# comments=no\n\n  #x:\nprofile=x", &[("profile", "x")]),
        ("profile=x\nprofile=y\nosarch=", &[("osarch", ""), ("profile", "y")]),
    ];
    for (text, expected) in table {
        assert_eq!(one(text), pairs(expected), "{text}");
    }
}

#[test]
fn stanzas_of_one_name_merge_and_the_order_stays() {
    let text = "b:\nobjtype=osimage\nprofile=x\nosarch=x86\na:\nobjtype=osimage\nb :\nprofile=y\n";
    let expected = [("b".into(), pairs(&[("osarch", "x86"), ("profile", "y")])), ("a".into(), vec![])];
    assert_eq!(objects(text), expected);
}

#[test]
fn defaults_accumulate_are_cancelled_and_never_win_over_the_object() {
    let text = "default-osimage:\n osarch=x86_64\n profile=p\ndefault-osimage:\n profile=\n osvers=sle15\n\
                a:\n osvers=rhels9\n objtype=osimage\n osarch=ppc64le\ndefault-osimage:\n osname=L\nb:\n objtype=osimage\n";
    let expected = [
        ("a".into(), pairs(&[("osarch", "ppc64le"), ("osvers", "rhels9")])),
        ("b".into(), pairs(&[("osarch", "x86_64"), ("osname", "L"), ("osvers", "sle15")])),
    ];
    assert_eq!(objects(text), expected);
}

#[test]
fn every_line_that_is_not_understood_is_reported_and_nothing_returned() {
    let table: [(&[u8], &[&str]); 9] = [
        (b"profile=x\n", &["f:1: `profile` belongs to no object"]),
        (b"a:\nobjtype=osimage\nno header\nwhat is this=1\n", &["f:3: this line is neither", "f:4: `what is this`"]),
        (b"a:\nobjtype=osimage\ncomments=x:\nprofile=y\n", &["f:3: a line that ends in `:`"]),
        (b":\nprofile=y\n", &["f:1: a header needs a name"]),
        (b"a:\nprofile=y\n", &["f:1: No objtype value was specified for 'a'."]),
        (b"n:\nobjtype=node\n", &["f:2: objects of type `node`"]),
        (b"default-node:\ngroups=all\n", &["f:1: `default-node`"]),
        (
            b"a:\nobjtype=osimage\ncomments=\xff\xfe\nprofile=\x07\n",
            &["f:3: this line is not UTF-8", "f:4: this line holds"],
        ),
        (b"# nothing\n", &["f: there is no object"]),
    ];
    for (text, expected) in table {
        let found = problems(text);
        let matches = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.starts_with(b));
        assert!(matches, "{found:?}, expected {expected:?}");
    }
}

#[test]
fn definitions_carry_the_line_of_a_bad_attribute() {
    let text = "a:\nobjtype=osimage\npkglst=/x\nosarch=vax\nb c:\nobjtype=osimage\nosvers=a b\n";
    let found = definitions(&read("f", text.as_bytes()).unwrap(), 0).unwrap_err();
    let places: Vec<_> = found.iter().filter_map(|problem| problem.at.as_deref()).collect();
    assert_eq!(places, ["f:3", "f:4", "f:5", "f:7"]);
}

#[test]
fn what_is_written_is_the_form_of_lsdef() {
    let text = format!(
        "{HEADER}\n\nlab9-compute:\n    objtype=osimage\n    addkcmdline=console=ttyS1,115200 quiet\n    \
         imagetype=linux\n    osname=Linux\n    pkglist=/srv/lists/base.pkglist\n"
    );
    let made = definitions(&read("f", text.as_bytes()).unwrap(), 0).unwrap();
    assert_eq!(write(&made), text);
}

/// The round trip `lsdef -z A | sed 's/^A:/B:/' | mkdef -z`, over values made of everything that could trip it.
#[test]
fn what_is_written_is_read_back_the_same_and_can_be_cloned_by_sed() {
    let pieces = ["a", ":", "=", "\"", "#", " ", "\\", "'", "A:", ",", "ü", "\t", "$X", "objtype"];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    for _ in 0..3000 {
        let mut made = Osimage::create("A".parse().unwrap(), &[], 0).unwrap();
        for name in ["comments", "description", "usercomment", "template"] {
            let value: String = (0..draw(6)).map(|_| pieces[draw(pieces.len())]).collect();
            let change = AttributeChange::Set { name: name.into(), value: value.replace('\t', "") };
            made.apply(&[change]).unwrap();
        }
        let text = write([&made]);
        let back = definitions(&read("f", text.as_bytes()).unwrap(), 0).unwrap();
        assert_eq!(back, [made.clone()], "{text}");
        let sed: String = text
            .lines()
            .map(|line| line.strip_prefix("A:").map_or(line.to_owned(), |r| format!("B:{r}")) + "\n")
            .collect();
        let clone = definitions(&read("f", sed.as_bytes()).unwrap(), 0).unwrap();
        assert_eq!((clone[0].name.as_str(), &clone[0].attributes), ("B", &made.attributes));
    }
}

#[test]
fn a_line_that_can_not_be_read_hides_no_unknown_attribute() {
    let text = "a:\n    objtype=osimage\n    no equals sign\n    pkglst=/x\n";
    let found: Vec<String> =
        read_definitions("f", text.as_bytes(), 0).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("f:3: ") && found[1].starts_with("f:4: "), "{found:?}");
}
