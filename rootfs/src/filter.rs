//! [`Filter`]: which entries of a tree an exlist leaves.
//!
//! A pattern means what it means to `find . -path PATTERN`: it is compared with the whole name beginning `./`, `*`
//! and `?` match a slash too, `[...]` and backslash work, and a trailing slash never matches. An entry stays if
//! no exclude matches it or any include does, whatever the order in the file.
//!
//! Bettering xCAT: the folders above an entry that stays do so too, with their own owner and mode, where xCAT left
//! them to be made up at extraction. That rule is the packer's, which sees the whole list.

use crate::path::TreePath;

/// The patterns of an exlist, and how often each was used.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    excludes: Vec<Rule>,
    includes: Vec<Rule>,
}

/// One pattern and the number of entries it decided over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As in the exlist, without `-` or `+`.
    pub pattern: Vec<u8>,
    /// Entries that it removed (an exclude) or saved from removal (an include).
    pub hits: u64,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No exclude matches.
    Stays,
    /// An exclude matches, but so does an include.
    Saved,
    /// Only an exclude matches.
    Goes,
}

impl Filter {
    /// Takes the exclude and include patterns in the order of the exlist.
    pub fn new<P: Into<Vec<u8>>>(
        excludes: impl IntoIterator<Item = P>,
        includes: impl IntoIterator<Item = P>,
    ) -> Filter {
        let rule = |pattern: P| Rule { pattern: pattern.into(), hits: 0 };
        Filter {
            excludes: excludes.into_iter().map(rule).collect(),
            includes: includes.into_iter().map(rule).collect(),
        }
    }

    /// Decides over one entry; the first pattern that matches is counted.
    pub fn judge(&mut self, path: &TreePath) -> Verdict {
        let mut name = b".".to_vec();
        if !path.is_root() {
            name.push(b'/');
            name.extend_from_slice(path.as_bytes());
        }
        let Some(exclude) = self.excludes.iter_mut().find(|rule| matches(&rule.pattern, &name)) else {
            return Verdict::Stays;
        };
        match self.includes.iter_mut().find(|rule| matches(&rule.pattern, &name)) {
            Some(include) => {
                include.hits += 1;
                Verdict::Saved
            }
            None => {
                exclude.hits += 1;
                Verdict::Goes
            }
        }
    }

    /// The excludes with what each removed; a rule with none may be a slip of the pen.
    pub fn excludes(&self) -> &[Rule] {
        &self.excludes
    }

    /// The includes with what each saved.
    pub fn includes(&self) -> &[Rule] {
        &self.includes
    }
}

/// Whether the whole of `name` matches, as `fnmatch` without flags in the C locale: bytes, no special slash or dot.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if let Some((&b'*', _)) = pattern[p..].split_first() {
            p += 1;
            retry = Some((p, n));
            continue;
        }
        if n == name.len() {
            if p == pattern.len() {
                return true;
            }
        } else if let Some(width) = matches_one(&pattern[p..], name[n]) {
            p += width;
            n += 1;
            continue;
        }
        // Let the last star swallow one more byte and try again from there.
        match retry {
            Some((after_star, from)) if from < name.len() => {
                (p, n) = (after_star, from + 1);
                retry = Some((after_star, from + 1));
            }
            _ => return false,
        }
    }
}

/// Matches one byte against the head of the pattern; gives the length of that head.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        // A backslash at the very end matches nothing, as in glibc.
        [b'\\'] => None,
        [b'[', rest @ ..] => match bracket(rest, byte) {
            Some((found, width)) => found.then_some(width + 1),
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Reads a bracket expression after its `[`: whether `byte` is in it, and its length with the `]`. `None` if it is
/// never closed: the `[` is then an ordinary character.
fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let first = at;
    let mut found = false;
    loop {
        match *pattern.get(at)? {
            b']' if at > first => return Some((found != negated, at + 1)),
            b'[' if pattern.get(at + 1) == Some(&b':') => {
                let end = at + 2 + pattern[at + 2..].windows(2).position(|pair| pair == b":]")?;
                found |= in_class(&pattern[at + 2..end], byte);
                at = end + 2;
            }
            _ => {
                let (low, after) = bracket_member(pattern, at)?;
                at = after;
                let ranged = pattern.get(at) == Some(&b'-') && !matches!(pattern.get(at + 1), None | Some(b']'));
                if ranged {
                    let (high, after) = bracket_member(pattern, at + 1)?;
                    found |= (low..=high).contains(&byte);
                    at = after;
                } else {
                    found |= low == byte;
                }
            }
        }
    }
}

fn bracket_member(pattern: &[u8], at: usize) -> Option<(u8, usize)> {
    match *pattern.get(at)? {
        b'\\' => Some((*pattern.get(at + 1)?, at + 2)),
        byte => Some((byte, at + 1)),
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    match class {
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"upper" => byte.is_ascii_uppercase(),
        b"lower" => byte.is_ascii_lowercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        b"punct" => byte.is_ascii_punctuation(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"cntrl" => byte.is_ascii_control(),
        b"graph" => byte.is_ascii_graphic(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::process::Command;

    const NAMES: [&str; 22] = [
        "boot",
        "boot/vmlinuz",
        "bootstrap",
        "usr/share/man/man1/ls.1",
        "usr/share/doc/a/copyright",
        "a[b",
        "a[b/c",
        "star*name",
        "quest?ion",
        "back\\slash",
        "tab\tname",
        "new\nline",
        ".hidden",
        "dash-x",
        "]close",
        "x]y",
        "Upper",
        "1digit",
        "a!b",
        "a^b",
        "trailing",
        "q-z",
    ];

    const PATTERNS: [&str; 44] = [
        "./boot",
        "./boot*",
        "./boot/",
        "./boot/*",
        "boot*",
        "*",
        "./*",
        ".",
        "./usr/*/man*",
        "./usr/share/*/*",
        "*/copyright",
        "./a[[]b",
        "./a[b",
        "./a[b*",
        "./star\\*name",
        "./star\\\\*",
        "./quest\\?ion",
        "./quest?ion",
        "./back\\\\slash",
        "./back\\slash",
        "./[[:upper:]]*",
        "./[[:digit:]]*",
        "./[!a-z]*",
        "./[^a-z]*",
        "./[]]*",
        "./x[]]y",
        "./x[!]]y",
        "./[a-c]oot",
        "./b[o-]o*",
        "./dash[-]x",
        "./dash[a-]x",
        "./q[-]z",
        "./???",
        "./????",
        "./new?line",
        "./tab\t*",
        "./.hid*",
        "./*/*",
        "**/ls.1",
        "./*a*a*s*1",
        "./a[!]b",
        "./a[!^]b",
        "./boot\\",
        "./[\\]]close",
    ];

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in NAMES {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if !path.exists() && name != "boot" && name != "a[b" {
                std::fs::write(path, b"").unwrap();
            }
        }
        dir
    }

    fn find(dir: &Path, expression: &[&str]) -> BTreeSet<Vec<u8>> {
        let output = Command::new("find")
            .current_dir(dir)
            .env("LC_ALL", "C")
            .arg(".")
            .args(expression)
            .arg("-print0")
            .output()
            .unwrap();
        output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn patterns_mean_what_find_says_they_mean() {
        let dir = tree();
        let all = find(dir.path(), &[]);
        for pattern in PATTERNS {
            let theirs = find(dir.path(), &["-path", pattern]);
            let ours: BTreeSet<_> = all.iter().filter(|name| matches(pattern.as_bytes(), name)).cloned().collect();
            let show = |set: &BTreeSet<Vec<u8>>| set.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect();
            let (ours, theirs): (Vec<String>, Vec<String>) = (show(&ours), show(&theirs));
            assert_eq!(ours, theirs, "pattern `{pattern}`");
        }
    }

    #[test]
    fn bytes_that_are_no_text_match_by_byte() {
        let name = Path::new("./caf").as_os_str().as_bytes().iter().copied().chain([0xe9]).collect::<Vec<_>>();
        assert!(matches(b"./caf?", &name));
        assert!(matches(b"./caf\xe9", &name));
        assert!(!matches(b"./caf??", &name));
    }

    #[test]
    fn includes_win_and_hits_are_counted() {
        let mut filter = Filter::new(["./usr/share/zoneinfo*", "./never"], ["./usr/share/zoneinfo/UTC"]);
        let mut judge = |name: &str| filter.judge(&TreePath::parse(name).unwrap());
        assert_eq!(judge("usr/share"), Verdict::Stays);
        assert_eq!(judge("usr/share/zoneinfo"), Verdict::Goes);
        assert_eq!(judge("usr/share/zoneinfo/UTC"), Verdict::Saved);
        assert_eq!(judge("usr/share/zoneinfo/CET"), Verdict::Goes);
        assert_eq!(filter.excludes().iter().map(|rule| rule.hits).collect::<Vec<_>>(), [2, 0]);
        assert_eq!(filter.includes()[0].hits, 1);
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let name = vec![b'a'; 4000];
        assert!(!matches(b"*a*a*a*a*a*a*a*a*a*a*b", &name));
    }
}
