//! What package managers say, in words that help. Pure: the last lines of the output in, cause and hint out. Here is
//! apt's; dnf's is in [`dnf`].

pub mod dnf;

use model::plan::PackageItem;

/// Why a package manager failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What went wrong, in one sentence.
    pub cause: String,
    /// What to do next.
    pub hint: String,
    /// Whether another node might fare better.
    pub node_at_fault: bool,
}

impl Explanation {
    fn of_build(cause: String, hint: &str) -> Option<Self> {
        Some(Self { cause, hint: hint.to_owned(), node_at_fault: false })
    }
}

/// The cause of a failure, if it is one that we know. `items` are the names that were asked for.
pub fn explain(lines: &[String], items: &[PackageItem]) -> Option<Explanation> {
    missing(lines, items)
        .or_else(|| disk(lines))
        .or_else(|| trust(lines))
        .or_else(|| mirror(lines))
        .or_else(|| scripts(lines, items))
        .or_else(|| conflicts(lines))
}

/// Names that no repository has.
fn missing(lines: &[String], items: &[PackageItem]) -> Option<Explanation> {
    let mut names: Vec<String> = Vec::new();
    for name in lines.iter().filter_map(|line| missing_name(line)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return None;
    }
    let said: Vec<String> = names.iter().map(|name| place(name, items)).collect();
    let cause = match said.as_slice() {
        [one] => format!("package {one} is in none of the repositories"),
        many => format!("{} packages are in none of the repositories: {}", many.len(), many.join(", ")),
    };
    Explanation::of_build(
        cause,
        "check the spelling in the list named, and that pkgdir (otherpkgdir) names the repository that has it",
    )
}

fn missing_name(line: &str) -> Option<String> {
    let line = line.trim_start_matches("E: ");
    let quoted = |text: &str| text.split(['\'', '"']).nth(1).map(str::to_owned);
    if let Some(name) = line.strip_prefix("Unable to locate package ") {
        return Some(name.trim().to_owned());
    }
    // By regex 'x', by glob 'x', task 'x'
    if let Some(rest) =
        line.strip_prefix("Couldn't find any package by ").or_else(|| line.strip_prefix("Couldn't find task "))
    {
        return quoted(rest);
    }
    if line.ends_with("has no installation candidate") {
        return quoted(line);
    }
    // Version '9.9' for 'mawk' was not found; Release 'x' for 'mawk' was not found
    let version = line.starts_with("Version '") && line.ends_with("was not found");
    let release = line.starts_with("Release '") && line.ends_with("was not found");
    let pieces: Vec<&str> = line.split('\'').collect();
    match (version, release, pieces.as_slice()) {
        (true, _, [_, wanted, _, name, ..]) => Some(format!("{name}={wanted}")),
        (_, true, [_, wanted, _, name, ..]) => Some(format!("{name}/{wanted}")),
        _ => None,
    }
}

fn place(name: &str, items: &[PackageItem]) -> String {
    let bare = |text: &str| text.trim_end_matches('^').to_owned();
    match items.iter().find(|item| bare(&item.name) == name) {
        Some(item) => format!("`{name}` ({})", item.at),
        None => format!("`{name}`"),
    }
}

fn disk(lines: &[String]) -> Option<Explanation> {
    let full = ["No space left on device", "You don't have enough free space"];
    if lines.iter().any(|line| full.iter().any(|words| line.contains(words))) {
        return Some(Explanation {
            cause: "the scratch disk of the node is full".to_owned(),
            hint: "clear the scratch disk, or set `scratch` in agent.toml to a larger one".to_owned(),
            node_at_fault: true,
        });
    }
    lines.iter().any(|line| line.contains("Read-only file system")).then(|| Explanation {
        cause: "the scratch disk of the node has become read-only".to_owned(),
        hint: "look for disk errors in the node's kernel log".to_owned(),
        node_at_fault: true,
    })
}

fn trust(lines: &[String]) -> Option<Explanation> {
    let first = |words: &str| lines.iter().find(|line| line.contains(words)).map(|line| stripped(line));
    if let Some(line) = first("is expired (invalid since").or_else(|| first("is not valid yet")) {
        return Explanation::of_build(
            format!("the repository's own date is refused: {line}"),
            "a mirror that stands still needs `Acquire::Check-Valid-Until \"false\";` in the node's apt configuration; \
             otherwise check the node's clock",
        );
    }
    let line = [
        "NO_PUBKEY",
        "EXPKEYSIG",
        "BADSIG",
        "is not signed",
        "signatures couldn't be verified",
        "signatures were invalid",
    ]
    .iter()
    .find_map(|words| first(words))?;
    Explanation::of_build(
        format!("a repository's signature can't be trusted: {line}"),
        "give the repository's key in the osimage (a key file per pkgdir), or mark that repository as unsigned if it has no signature",
    )
}

fn mirror(lines: &[String]) -> Option<Explanation> {
    let words = [
        "Temporary failure resolving",
        "Could not resolve",
        "Could not connect",
        "Unable to connect",
        "Connection failed",
        "Connection timed out",
        "Cannot initiate the connection",
        "404  Not Found",
        "403  Forbidden",
        "503  Service Unavailable",
        "does not have a Release file",
        "Hash Sum mismatch",
        "Failed to fetch",
        "Failed to stat",
    ];
    let line = words.iter().find_map(|words| lines.iter().find(|line| line.contains(words)))?;
    Explanation::of_build(
        format!("a repository can't be read: {}", stripped(line)),
        "try the URL with curl on the node; check its name server, its route, its proxy settings for apt, and the pkgdir of the osimage",
    )
}

fn scripts(lines: &[String], items: &[PackageItem]) -> Option<Explanation> {
    let name = |line: &String| {
        let rest = line
            .strip_prefix("dpkg: error processing package ")
            .or_else(|| line.strip_prefix("dpkg: error processing archive "))?;
        Some(rest.split([' ', ':']).next()?.to_owned())
    };
    let mut names: Vec<String> = lines.iter().filter_map(name).collect();
    names.dedup();
    let said: Vec<String> = names.iter().map(|name| place(name, items)).collect();
    (!said.is_empty()).then(|| Explanation {
        cause: format!("installing {} failed in the package's own script or archive", said.join(", ")),
        hint: "the lines above the error in the log are the script's own".to_owned(),
        node_at_fault: false,
    })
}

fn conflicts(lines: &[String]) -> Option<Explanation> {
    let start = lines.iter().rposition(|line| line.contains("have unmet dependencies"))?;
    let wanted: Vec<&str> = lines[start + 1..]
        .iter()
        .map(|line| line.trim())
        .filter(|line| line.contains("Depends:") || line.contains("Conflicts:") || line.contains("Breaks:"))
        .collect();
    Explanation::of_build(
        format!(
            "the packages don't fit together: {}",
            if wanted.is_empty() { "unmet dependencies".to_owned() } else { wanted.join("; ") }
        ),
        "the repositories of the osimage must belong to one release; look for a name that pins a version",
    )
}

fn stripped(line: &str) -> String {
    line.trim_start_matches(['E', 'W', ':', ' ']).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(text: &str) -> Option<Explanation> {
        let item = |name: &str, at: &str| PackageItem { name: name.to_owned(), subdir: None, at: at.to_owned() };
        let items = [
            item("nano", "c.pkglist:1"),
            item("no-such-x", "c.pkglist:2"),
            item("mawk=9.9", "d.pkglist:7"),
            item("ssh^", "e:1"),
        ];
        explain(&text.lines().map(str::to_owned).collect::<Vec<_>>(), &items)
    }

    #[test]
    fn all_missing_names_are_told_with_their_places() {
        for (text, expected) in [
            (
                "E: Unable to locate package no-such-x",
                "package `no-such-x` (c.pkglist:2) is in none of the repositories",
            ),
            (
                "E: Unable to locate package no-such-x\nE: Unable to locate package no-such-x\nE: Version '9.9' for 'mawk' was not found",
                "2 packages are in none of the repositories: `no-such-x` (c.pkglist:2), `mawk=9.9` (d.pkglist:7)",
            ),
            (
                "E: Package 'nano' has no installation candidate",
                "package `nano` (c.pkglist:1) is in none of the repositories",
            ),
            ("E: Couldn't find task 'ssh'", "package `ssh` (e:1) is in none of the repositories"),
        ] {
            assert_eq!(cause(text).unwrap().cause, expected);
        }
    }

    #[test]
    fn known_riddles_are_translated() {
        for (text, start, node) in [
            ("dpkg: error: x: No space left on device", "the scratch disk of the node is full", true),
            (
                "E: Release file for http://m/InRelease is expired (invalid since 3d).",
                "the repository's own date",
                false,
            ),
            ("W: GPG error: http://m bookworm: NO_PUBKEY 0E98404D386FA1D9", "a repository's signature", false),
            ("E: The repository 'http://m bookworm Release' is not signed.", "a repository's signature", false),
            (
                "Err:1 http://m bookworm InRelease\n  Could not resolve 'm'",
                "a repository can't be read: Could not resolve 'm'",
                false,
            ),
            ("dpkg: error processing package nano (--configure):", "installing `nano` (c.pkglist:1) failed", false),
            (
                "The following packages have unmet dependencies:\n a : Depends: b but it is not installable",
                "the packages don't fit together: a : Depends: b",
                false,
            ),
        ] {
            let found = cause(text).unwrap();
            assert!(found.cause.starts_with(start), "{}", found.cause);
            assert_eq!(found.node_at_fault, node, "{text}");
        }
        assert_eq!(cause("E: something new"), None);
    }
}
