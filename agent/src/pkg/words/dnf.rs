//! What dnf and yum say, in words that help: the last lines of their output in, cause and hint out.

use std::collections::BTreeMap;

use model::plan::PackageItem;

use super::{Explanation, disk, place};

/// The cause of a failure, if it is one that we know. `items` are the names that were asked for, `sources` the
/// definition's own words for each repository by its id.
pub fn explain(lines: &[String], items: &[PackageItem], sources: &BTreeMap<String, String>) -> Option<Explanation> {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    repository(&lines, sources)
        .or_else(|| missing(&lines, items))
        .or_else(|| damaged(&lines, sources))
        .or_else(|| trust(&lines))
        .or_else(|| clashing_files(&lines))
        .or_else(|| conflicts(&lines, items))
        .or_else(|| room(&lines))
}

/// The id of the repository that the server doesn't have, if that is why dnf or yum failed: there is no index. Any other
/// file that is missing is one that the index names, so the repository is there and broken.
pub fn absent(lines: &[String]) -> Option<&str> {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    let gone = |line: &&str| {
        let url = line.split(' ').find(|word| word.trim_end_matches(':').ends_with("/repodata/repomd.xml"));
        url.is_some()
            && ["Status code: 404", "HTTP Error 404", "HTTPS Error 404"].iter().any(|text| line.contains(text))
    };
    lines.iter().any(gone).then(|| unread(&lines)).flatten().map(|(id, _)| id)
}

/// The id of the repository whose lists can't be had, and why.
fn unread<'a>(lines: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let (front, end) = ("Error: Failed to download metadata for repo '", "Cannot retrieve repository metadata");
    let (id, why) = lines.iter().find_map(|line| {
        let dnf = || line.strip_prefix(front)?.split_once("': ");
        let yum = || line.contains(end).then(|| line.split_once("for repository: ")).flatten().map(|(_, id)| (id, ""));
        dnf().or_else(yum)
    })?;
    Some((id.split(['.', ' ']).next().unwrap_or(id), why))
}

/// A repository whose lists can't be had.
fn repository(lines: &[&str], sources: &BTreeMap<String, String>) -> Option<Explanation> {
    let (id, why) = unread(lines)?;
    // The line with the server's or the disk's own word.
    let detail = lines.iter().find_map(|line| line.strip_prefix("- ")).unwrap_or(why);
    Explanation::of_build(
        format!("the repository {} can't be read: {}", called(id, sources), detail.trim_end_matches(['(', ')'])),
        "make its index again (`createrepo_c`), or try its URL with curl on the node and check name server, route and proxy; a repository that isn't needed belongs out of pkgdir and otherpkgdir",
    )
}

fn called(id: &str, sources: &BTreeMap<String, String>) -> String {
    sources.get(id).map_or_else(|| format!("`{id}`"), |source| format!("`{source}` ({id})"))
}

/// Packages, groups and module streams that no repository has.
fn missing(lines: &[&str], items: &[PackageItem]) -> Option<Explanation> {
    let mut names: Vec<String> = Vec::new();
    for name in lines.iter().flat_map(|line| missing_names(line)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let said: Vec<String> = names.iter().map(|name| place(name, items)).collect();
    let cause = match said.as_slice() {
        [] => return None,
        [one] => format!("{} {one} is in none of the repositories", kind(&names[0])),
        many => format!("{} names are in none of the repositories: {}", many.len(), many.join(", ")),
    };
    Explanation::of_build(
        cause,
        "check the spelling in the list named, and that pkgdir (otherpkgdir) names the repository that has it",
    )
}

fn kind(name: &str) -> &'static str {
    match (name.starts_with('@'), name.contains(':')) {
        (true, true) => "module stream",
        (true, false) => "group",
        (false, _) => "package",
    }
}

fn missing_names(line: &str) -> Vec<String> {
    // The whole list, as dnf repeats it at the end, can't be split again: names of groups hold blanks.
    if let Some(name) = line.strip_prefix("No match for argument: ") {
        return vec![name.trim().to_owned()];
    }
    let quoted = |rest: &str| rest.split('\'').next().map(|name| vec![format!("@{name}")]).unwrap_or_default();
    if let Some(rest) = line.strip_prefix("Module or Group '") {
        return quoted(rest);
    }
    let yum = line.strip_prefix("No package ").and_then(|rest| rest.strip_suffix(" available."));
    let yum_group = line.strip_prefix("Warning: Group ").and_then(|rest| rest.strip_suffix(" does not exist."));
    yum.map(str::to_owned).into_iter().chain(yum_group.map(|name| format!("@{name}"))).collect()
}

/// Packages that are unsigned, or signed with a key that nobody named.
fn trust(lines: &[&str]) -> Option<Explanation> {
    let unsigned = |line: &&&str| line.starts_with("Package ") && line.ends_with(" is not signed");
    let unknown = |line: &&&str| line.starts_with("Public key for ") && line.contains("is not installed");
    let wrong = |line: &&&str| {
        line.contains("The GPG keys listed for")
            || line.contains("Import of key(s) didn't help")
            || line.contains("GPG check FAILED")
    };
    let line =
        lines.iter().find(unsigned).or_else(|| lines.iter().find(unknown)).or_else(|| lines.iter().find(wrong))?;
    Explanation::of_build(
        format!("the signature of a package can't be trusted: {}", line.trim_start_matches("Error: ")),
        "name the key that its maker signs with: `[signed-by=/path/key]` in front of the repository, or an RPM-GPG-KEY file at its top; `[trusted=yes]` leaves that repository unchecked",
    )
}

fn unverified(line: &str) -> Option<&str> {
    line.strip_prefix("package ")?.split_once(" does not verify: ").map(|(name, _)| name)
}

/// Packages that are not what their maker signed, or not what their index says.
fn damaged(lines: &[&str], sources: &BTreeMap<String, String>) -> Option<Explanation> {
    let unopened = lines.iter().find_map(|line| line.strip_prefix("Problem opening package "));
    if let Some(package) = unopened.or_else(|| lines.iter().find_map(|line| unverified(line))) {
        return Explanation::of_build(
            format!("package {package} is damaged, or was changed after it was signed"),
            "copy it again from where it comes; its index can't tell, for it was made from the same bytes",
        );
    }
    let local = lines.iter().find_map(|line| {
        let (package, rest) = line.strip_prefix("Package \"")?.split_once("\" from local repository \"")?;
        let id = rest.strip_suffix("\" has incorrect checksum")?;
        Some((package, id))
    });
    if let Some((package, id)) = local {
        return Explanation::of_build(
            format!("package {package} in {} is missing or not what the index says", called(id, sources)),
            "copy the package again, then make the index again with `createrepo_c`",
        );
    }
    let words = ["Error downloading packages", "checksum doesn't match", "Cannot download, all mirrors", "Curl error"];
    let line = words.iter().find_map(|words| lines.iter().find(|line| line.contains(words)))?;
    let detail = lines.iter().find_map(|line| line.strip_prefix("- ")).unwrap_or(line);
    Explanation::of_build(
        format!("a package can't be fetched: {detail}"),
        "try its URL with curl on the node; a mirror that is being updated may do in an hour",
    )
}

fn clashing_files(lines: &[&str]) -> Option<Explanation> {
    let clash = |line: &&&str| line.starts_with("file ") && line.contains(" conflicts ");
    let all: Vec<&str> = lines.iter().filter(clash).copied().collect();
    let first = all.first()?;
    let more = if all.len() > 1 { format!(" (and {} more)", all.len() - 1) } else { String::new() };
    Explanation::of_build(
        format!("two packages bring the same file: {first}{more}"),
        "leave one of the two out, or ask their makers",
    )
}

/// What the solver says, without the command-line options that it proposes.
fn conflicts(lines: &[&str], items: &[PackageItem]) -> Option<Explanation> {
    let start = lines.iter().position(|line| line.starts_with("Problem") || line.starts_with("Error: Package: "))?;
    let belongs =
        |line: &&&str| line.starts_with("Problem") || line.starts_with("- ") || line.starts_with("Requires: ");
    let said: Vec<&str> = lines[start..].iter().filter(belongs).take(8).copied().collect();
    let named = |item: &&PackageItem| {
        let word = |text: &str| {
            text.split(|c: char| !(c.is_ascii_alphanumeric() || "._+-".contains(c))).any(|word| {
                word == item.name || word.strip_prefix(item.name.as_str()).is_some_and(|rest| rest.starts_with('-'))
            })
        };
        said.iter().any(|line| word(line))
    };
    let asked: Vec<String> =
        items.iter().filter(named).take(4).map(|item| format!("`{}` ({})", item.name, item.at)).collect();
    let asked = if asked.is_empty() { String::new() } else { format!("; asked for: {}", asked.join(", ")) };
    Explanation::of_build(
        format!(
            "the packages don't fit together: {}{asked}",
            if said.is_empty() { lines[start].to_owned() } else { said.join(" ") }
        ),
        "the repositories of the osimage must belong to one release; look for a name that pins a version, and for a module stream that hides one",
    )
}

fn room(lines: &[&str]) -> Option<Explanation> {
    if let Some(line) = lines.iter().find(|line| line.starts_with("At least ")).or_else(|| {
        lines.iter().find(|line| line.contains("more space on the") || line.contains("more space needed on the"))
    }) {
        return Some(Explanation {
            cause: format!("the scratch disk of the node is too small: {}", line.trim_start_matches("- ")),
            hint: "clear the scratch disk, or set `scratch` in agent.toml to a larger one".to_owned(),
            node_at_fault: true,
        });
    }
    disk(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Explanation {
        let item = |name: &str, at: &str| PackageItem { name: name.to_owned(), subdir: None, at: at.to_owned() };
        let items = [
            item("nosuch", "c.pkglist:2"),
            item("@Server with GUI", "c.pkglist:3"),
            item("@nodejs:99", "d:1"),
            item("needy", "d:4"),
        ];
        let sources = BTreeMap::from([("os-2".to_owned(), "/install/x".to_owned())]);
        explain(&text.lines().map(str::to_owned).collect::<Vec<_>>(), &items, &sources).unwrap()
    }

    #[test]
    fn names_that_are_missing_are_told_with_their_places() {
        for (text, expected) in [
            (
                "No match for argument: nosuch\nError: Unable to find a match: nosuch",
                "package `nosuch` (c.pkglist:2) is in none of the repositories",
            ),
            (
                "Module or Group 'Server with GUI' is not available.\nError: Nothing to do.",
                "group `@Server with GUI` (c.pkglist:3) is in none of the repositories",
            ),
            (
                "Module or Group 'nodejs:99' is not available.\nNo match for argument: nosuch\nError: Unable to find a match: nosuch",
                "2 names are in none of the repositories: `@nodejs:99` (d:1), `nosuch` (c.pkglist:2)",
            ),
            (
                "No package nosuch available.\nError: Not tolerating missing names on install, stopping.",
                "package `nosuch` (c.pkglist:2) is in none of the repositories",
            ),
        ] {
            assert_eq!(found(text).cause, expected);
        }
    }

    #[test]
    fn a_repository_is_told_in_the_definitions_own_words() {
        let parse = "Error: Failed to download metadata for repo 'os-2': repomd.xml parser error: Parse error at line: 1 (Document is empty\n)";
        assert_eq!(
            found(parse).cause,
            "the repository `/install/x` (os-2) can't be read: repomd.xml parser error: Parse error at line: 1 (Document is empty"
        );
        let gone = "Errors during downloading metadata for repository 'os-2':\n  - Curl error (7): Couldn't connect to server for http://h/x\nError: Failed to download metadata for repo 'os-2': Cannot download repomd.xml: All mirrors were tried";
        assert_eq!(
            found(gone).cause,
            "the repository `/install/x` (os-2) can't be read: Curl error (7): Couldn't connect to server for http://h/x"
        );
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((absent(&lines(parse)), absent(&lines(gone))), (None, None));
        let missing = "  - Status code: 404 for http://h/x/repodata/repomd.xml (IP: 1.2.3.4)\nError: Failed to download metadata for repo 'otherpkgs-2': Cannot download repomd.xml: All mirrors were tried";
        assert_eq!(absent(&lines(missing)), Some("otherpkgs-2"));
        // A mirror in the middle of its renewal has the repository.
        assert_eq!(absent(&lines(&missing.replace("repomd.xml (IP", "0a1b-primary.xml.gz (IP"))), None);
        let yum = "http://h/x/repodata/repomd.xml: [Errno 14] HTTP Error 404 - Not Found\nTrying other mirror.\n\
            failure: repodata/repomd.xml from otherpkgs-1: [Errno 256]\nCannot retrieve repository metadata (repomd.xml) for repository: otherpkgs-1. Please verify its path and try again";
        assert_eq!(absent(&lines(yum)), Some("otherpkgs-1"));
    }

    #[test]
    fn known_riddles_are_translated() {
        for (text, start, node) in [
            (
                "Package confa-1-1.noarch.rpm is not signed\nError: GPG check FAILED",
                "the signature of a package can't be trusted: Package confa",
                false,
            ),
            (
                "Problem opening package caps-1.0-1.noarch.rpm\nError: GPG check FAILED",
                "package caps-1.0-1.noarch.rpm is damaged, or was changed after it was signed",
                false,
            ),
            (
                "Error: Transaction test error:\n  package caps-1.0-1.noarch does not verify: Payload SHA256 digest: BAD",
                "package caps-1.0-1.noarch is damaged",
                false,
            ),
            (
                "Public key for a-1.rpm is not installed. Failing package is: a-1-1.noarch\nError: GPG check FAILED",
                "the signature of a package can't be trusted: Public key for a-1",
                false,
            ),
            (
                "Package \"confa-1-1.noarch\" from local repository \"os-2\" has incorrect checksum\nError: Some packages",
                "package confa-1-1.noarch in `/install/x` (os-2) is missing or not",
                false,
            ),
            (
                "Error: Transaction test error:\n  file /usr/x conflicts between attempted installs of a and b",
                "two packages bring the same file: file /usr/x conflicts",
                false,
            ),
            (
                "Error: \n Problem: conflicting requests\n  - nothing provides libx needed by needy-1-1.noarch from os-2\n(try to add '--skip-broken')",
                "the packages don't fit together: Problem: conflicting requests - nothing provides libx needed by needy-1-1.noarch from os-2; asked for: `needy` (d:4)",
                false,
            ),
            (
                "Error: Transaction test error:\n  installing package a needs 377MB more space on the / filesystem\nError Summary\nDisk Requirements:\n   At least 377MB more space needed on the / filesystem.",
                "the scratch disk of the node is too small",
                true,
            ),
            (
                "error: unpacking of archive failed: cpio: write failed - No space left on device",
                "the scratch disk of the node is full",
                true,
            ),
        ] {
            let found = found(text);
            assert!(found.cause.starts_with(start), "{}", found.cause);
            assert_eq!(found.node_at_fault, node, "{text}");
        }
    }
}
