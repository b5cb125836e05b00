//! Whatever bytes a file holds, no reader of this crate panics or runs on for ever.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::osimage::{AttributeChange, Osimage, RepositoryEntry};
use crate::{exlist, pkglist, stanza, synclist};

const PIECES: [&[u8]; 34] = [
    b"#INCLUDE:",
    b"#",
    b"f",
    b"g#\n",
    b"#NEW_INSTALL_LIST#",
    b"#ENV:",
    b"A=",
    b"$A",
    b"${",
    b"}",
    b"-",
    b"--",
    b"@",
    b"/",
    b"..",
    b",",
    b" ",
    b"\t",
    b"\n",
    b"\r\n",
    b"\xc3\xbc",
    b"\xff",
    b"\0",
    b"\"",
    b"'",
    b"->",
    b"(",
    b")",
    b"EXECUTE:",
    b"[",
    b"]",
    b":\n",
    b"objtype=osimage\n",
    b"default-osimage:\n",
];

fn text(draw: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    (0..draw(24)).flat_map(|_| PIECES[draw(PIECES.len())].to_vec()).collect()
}

#[test]
fn no_text_makes_a_reader_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    let environment: BTreeMap<String, String> = [("A".to_owned(), "g".to_owned())].into();
    let tops = [PathBuf::from("/l/f"), PathBuf::from("/l/g")];
    // What a reader answers does not matter here, only that it does.
    for _ in 0..5_000 {
        let files = [text(&mut draw), text(&mut draw)];
        let mut disk = |path: &Path| Ok(files[usize::from(path == Path::new("/l/g"))].clone());
        for list in [pkglist::List::Os, pkglist::List::Other] {
            let _ = pkglist::read(list, &tops, &environment, &mut disk);
        }
        let _ = exlist::read(&tops, &mut disk);
        let _ = synclist::read(&tops, &environment, &mut disk);
        if let Ok(stanzas) = stanza::read("f", &files[0]) {
            let _ = stanza::definitions(&stanzas, 0);
        }
        let words = String::from_utf8_lossy(&files[1]);
        let _ = words.parse::<RepositoryEntry>();
        if let Ok(change) = words.parse::<AttributeChange>() {
            let _ = Osimage::create("a".parse().unwrap(), &[change], 0);
        }
    }
}
