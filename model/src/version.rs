//! How releases are put in order: as rpm does, and as dpkg does. Pure; which of the two is meant goes by the image.

use std::cmp::Ordering;

/// By rpm's rules: stretches of digits or letters, one by one; `~` sorts before the end, `^` after it; whatever else
/// stands between them only parts them. A kernel's release is version and release, which are compared one after
/// the other.
pub fn rpm_order(a: &str, b: &str) -> Ordering {
    let ((version, release), (other_version, other_release)) = (halves(a), halves(b));
    rpm_segments(version, other_version).then_with(|| rpm_segments(release, other_release))
}

fn halves(text: &str) -> (&[u8], &[u8]) {
    let (version, release) = text.split_once('-').unwrap_or((text, ""));
    (version.as_bytes(), release.as_bytes())
}

fn rpm_segments(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        cut(&mut a, |byte| !byte.is_ascii_alphanumeric() && !b"~^".contains(byte));
        cut(&mut b, |byte| !byte.is_ascii_alphanumeric() && !b"~^".contains(byte));
        let order = match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            (Some(b'~'), _) => Ordering::Less,
            (_, Some(b'~')) => Ordering::Greater,
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(b'^'), _) => Ordering::Less,
            (_, Some(b'^')) => Ordering::Greater,
            (Some(left), Some(right)) => match (left.is_ascii_digit(), right.is_ascii_digit()) {
                (true, true) => number(&mut a).cmp(&number(&mut b)),
                (false, false) => {
                    let letters = |rest: &mut &[u8]| cut(rest, u8::is_ascii_alphabetic).to_vec();
                    letters(&mut a).cmp(&letters(&mut b))
                }
                // A number is newer than letters.
                (left, right) => left.cmp(&right),
            },
        };
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// By dpkg's rules: text and numbers in turn; `~` sorts before the end, letters before all other signs.
pub fn dpkg_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let text = |rest: &mut &[u8]| ranks(cut(rest, |byte| !byte.is_ascii_digit()));
        let order = text(&mut a).cmp(&text(&mut b)).then_with(|| number(&mut a).cmp(&number(&mut b)));
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// A stretch without digits, by rank: `~`, the end, letters, everything else.
fn ranks(stretch: &[u8]) -> Vec<(u8, u8)> {
    let rank = |byte: &u8| match byte {
        b'~' => (0, 0),
        byte if byte.is_ascii_alphabetic() => (2, *byte),
        byte => (3, *byte),
    };
    stretch.iter().map(rank).chain([(1, 0)]).collect()
}

/// A number of any length, as its length and digits.
fn number<'a>(rest: &mut &'a [u8]) -> (usize, &'a [u8]) {
    let digits = cut(rest, u8::is_ascii_digit);
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    (digits.len() - zeros, &digits[zeros..])
}

fn cut<'a>(rest: &mut &'a [u8], belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = rest.iter().position(|byte| !belongs(byte)).unwrap_or(rest.len());
    let (stretch, tail) = rest.split_at(end);
    *rest = tail;
    stretch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(order: fn(&str, &str) -> Ordering, newer: &str, older: &str) {
        assert_eq!(order(newer, older), Ordering::Greater, "{newer} > {older}");
        assert_eq!(order(older, newer), Ordering::Less, "{older} < {newer}");
    }

    #[test]
    fn rpm_orders_by_segments() {
        for (newer, older) in [
            ("5.14.0-427.13.1.el9_4.x86_64", "5.14.0-70.22.1.el9_0.x86_64"),
            ("5.14.0-427.13.1.el9_4.x86_64", "5.14.0-427.el9.x86_64"),
            ("5.14.0-427.el9.x86_64+debug", "5.14.0-427.el9.x86_64"),
            ("10.0001", "10.0"),
            ("2.0.1a", "2.0.1"),
            ("1.0.1", "1.0.a"),
            ("1.0", "1.0~rc1"),
            ("1.0~rc2", "1.0~rc1"),
            ("1.0^20240501", "1.0"),
            ("1.0.1", "1.0^20240501"),
            ("1.0^git1", "1.0^git1~pre"),
            ("6.12.0-55.el10", "6.2.0-99.el10"),
            ("5.5p10", "5.5p2"),
            ("8.x", "xyz.4"),
        ] {
            check(rpm_order, newer, older);
        }
        for (a, b) in [("1.0", "1_0"), ("5.14.0", "5.14.00"), ("2.0.", "2.0"), ("1.0~", "1.0~")] {
            assert_eq!(rpm_order(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn dpkg_orders_by_text_and_number_in_turn() {
        for (newer, older) in [
            ("6.1.0-10-amd64", "6.1.0-9-amd64"),
            ("6.12.107+deb13-powerpc64le", "6.12.9+deb13-powerpc64le"),
            ("6.1.0", "6.1.0~rc3"),
            ("6.1.0-50-cloud-amd64", "6.1.0-50-amd64"),
            ("10.0", "9.99"),
            ("5.4.0-150-generic", "5.4.0"),
        ] {
            check(dpkg_order, newer, older);
        }
        assert_eq!(dpkg_order("6.1.0-50", "6.1.0-050"), Ordering::Equal);
    }
}
