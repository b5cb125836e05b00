//! How dpkg orders versions: epoch, then the upstream part, then the revision.

use std::cmp::Ordering;

use super::stock::Relation;

/// Whether a version stands to another as asked for.
pub(super) fn holds(version: &str, relation: Relation, other: &str) -> bool {
    let order = compare(version, other);
    match relation {
        Relation::Earlier => order.is_lt(),
        Relation::AtMost => order.is_le(),
        Relation::Exactly => order.is_eq(),
        Relation::AtLeast => order.is_ge(),
        Relation::Later => order.is_gt(),
    }
}

fn compare(a: &str, b: &str) -> Ordering {
    let ((epoch_a, version_a, revision_a), (epoch_b, version_b, revision_b)) = (parts(a), parts(b));
    let epoch = |text: &str| text.parse::<u64>().unwrap_or(0);
    epoch(epoch_a)
        .cmp(&epoch(epoch_b))
        .then_with(|| part(version_a, version_b))
        .then_with(|| part(revision_a, revision_b))
}

fn parts(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch, upstream, revision)
}

/// Letters and numbers by turns; `~` comes before everything, even the end.
fn part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = split(b, |c| !c.is_ascii_digit());
        let (number_a, after_a) = split(rest_a, |c| c.is_ascii_digit());
        let (number_b, after_b) = split(rest_b, |c| c.is_ascii_digit());
        let order = letters(text_a, text_b).then_with(|| number(number_a, number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (after_a, after_b);
    }
    Ordering::Equal
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn letters(a: &str, b: &str) -> Ordering {
    let weight = |letter: Option<char>| match letter {
        Some('~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => letter as i64,
        Some(letter) => letter as i64 + 0x11_0000,
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (left, right) = (a.next(), b.next());
        let order = weight(left).cmp(&weight(right));
        if order.is_ne() || (left.is_none() && right.is_none()) {
            return order;
        }
    }
}

fn number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let rising = [
            "0",
            "1.0~rc1",
            "1.0~rc1-2",
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0a",
            "1.0+dfsg",
            "1.2",
            "1.10",
            "1:0.1",
            "2:0",
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare("1.01-1", "0:1.1-01"), Ordering::Equal);
        assert!(holds("0.142", Relation::AtLeast, "0.120+deb8u2") && !holds("059-4", Relation::Earlier, "059-4"));
    }
}
