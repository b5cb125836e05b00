//! "Did you mean": the known name that is nearest to a mistyped one.

/// The candidate that differs least from `name`, if one is near: at most two letters, and a third of its length.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let measured = candidates.into_iter().map(|candidate| (distance(name, candidate), candidate));
    measured
        .filter(|(distance, candidate)| *distance <= 2.min(candidate.len() / 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, exchanged or swapped with a neighbour to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(40).collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let exchange = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                    exchange.min(swap).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
                }
            };
        }
    }
    rows[a.len()][b.len()]
}
