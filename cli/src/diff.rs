//! What changed between two generations, for people and for programs.

use proto::v1;
use serde::Serialize;

use crate::follow::report::Text;
use crate::format;
use crate::output::Style;
use crate::view::EditView;

/// Changed files shown unless all are asked for.
const FEW: usize = 20;

/// The difference of two generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffView {
    /// The earlier one.
    pub from: u32,
    /// The later one.
    pub to: u32,
    /// How many packages the earlier one has.
    pub packages_before: u32,
    /// How many the later one has.
    pub packages_after: u32,
    /// Packages that came, went or have another version.
    pub packages: Vec<PackageView>,
    /// How many files came.
    pub files_added: u64,
    /// How many went.
    pub files_removed: u64,
    /// How many are others now.
    pub files_changed: u64,
    /// The first of them by path.
    pub files: Vec<EditView>,
    /// File capabilities that are others now.
    pub capabilities: Vec<CapabilityView>,
    /// Artefacts of another size.
    pub artefacts: Vec<ArtefactView>,
}

/// One package; several versions of one (kernels) stand together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageView {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// Its versions before; none if it came.
    pub before: Vec<String>,
    /// Its versions after; none if it went.
    pub after: Vec<String>,
}

/// The capabilities of one file, in the words of `getcap(8)`; empty: none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapabilityView {
    /// In the tree.
    pub path: String,
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
}

/// One artefact's size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArtefactView {
    /// Its name.
    pub name: String,
    /// Before; none if it was not there.
    pub before_bytes: Option<u64>,
    /// After; none if it is not there.
    pub after_bytes: Option<u64>,
}

impl From<v1::GenerationDiff> for DiffView {
    fn from(wire: v1::GenerationDiff) -> Self {
        let v1::GenerationDiff {
            from,
            to,
            packages_before,
            packages_after,
            packages,
            files,
            files_added,
            files_removed,
            files_changed,
            capabilities,
            artefacts,
        } = wire;
        let package = |v1::PackageChange { name, arch, before, after }| PackageView { name, arch, before, after };
        let capability = |v1::CapabilityChange { path, before, after }| CapabilityView { path, before, after };
        let artefact =
            |v1::ArtefactChange { name, before_bytes, after_bytes }| ArtefactView { name, before_bytes, after_bytes };
        Self {
            from,
            to,
            packages_before,
            packages_after,
            packages: packages.into_iter().map(package).collect(),
            files_added,
            files_removed,
            files_changed,
            files: files.into_iter().map(EditView::from).collect(),
            capabilities: capabilities.into_iter().map(capability).collect(),
            artefacts: artefacts.into_iter().map(artefact).collect(),
        }
    }
}

impl DiffView {
    /// The whole of it; of the files only a few unless `all_files`.
    pub fn text(&self, osimage: &str, all_files: bool) -> Text {
        let mut text = vec![(Style::Bold, format!("{osimage}: generation {} → {}\n", self.from, self.to))];
        if self.is_empty() {
            text.push((Style::Plain, "nothing changed\n".to_owned()));
        }
        self.packages_text(&mut text);
        self.files_text(all_files, &mut text);
        if !self.capabilities.is_empty() {
            text.push((Style::Plain, "capabilities:\n".to_owned()));
            text.extend(self.capabilities.iter().map(CapabilityView::line));
        }
        if !self.artefacts.is_empty() {
            text.push((Style::Plain, "sizes:\n".to_owned()));
            text.extend(self.artefacts.iter().map(ArtefactView::line));
        }
        text
    }

    /// For the end of a build: the packages alone. Nothing if they are the same.
    pub fn packages_summary(&self, osimage: &str) -> Text {
        if self.packages.is_empty() {
            return Text::new();
        }
        let mut text = vec![(Style::Plain, format!("\nsince generation {}, ", self.from))];
        self.packages_text(&mut text);
        let more = format!("`imgctl generations diff {osimage} {} {}` shows the files too\n", self.from, self.to);
        text.push((Style::Dim, more));
        text
    }

    fn is_empty(&self) -> bool {
        let files = self.files_added + self.files_removed + self.files_changed;
        self.packages.is_empty() && files == 0 && self.capabilities.is_empty() && self.artefacts.is_empty()
    }

    fn packages_text(&self, text: &mut Text) {
        if self.packages.is_empty() {
            return;
        }
        let count = |is: fn(&PackageView) -> bool| self.packages.iter().filter(|package| is(package)).count() as u64;
        let (came, went) = (count(|package| package.before.is_empty()), count(|package| package.after.is_empty()));
        let changed = self.packages.len() as u64 - came - went;
        let counts = counts(came, went, changed);
        let line = format!("packages: {counts} ({} → {})\n", self.packages_before, self.packages_after);
        text.push((Style::Plain, line));
        text.extend(self.packages.iter().map(PackageView::line));
    }

    fn files_text(&self, all: bool, text: &mut Text) {
        let total = self.files_added + self.files_removed + self.files_changed;
        if total == 0 {
            return;
        }
        let counts = counts(self.files_added, self.files_removed, self.files_changed);
        text.push((Style::Plain, format!("files: {counts}\n")));
        let shown = if all { self.files.len() } else { self.files.len().min(FEW) };
        text.extend(self.files.iter().take(shown).map(file_line));
        let left = total - shown as u64;
        if left > 0 {
            let how = if all { "" } else { "; --files shows them" };
            text.push((Style::Dim, format!("  and {left} more{how}\n")));
        }
    }
}

fn counts(came: u64, went: u64, changed: u64) -> String {
    let parts = [(came, "added"), (went, "gone"), (changed, "changed")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    parts.join(", ")
}

impl PackageView {
    fn line(&self) -> (Style, String) {
        let (before, after) = (self.before.join(", "), self.after.join(", "));
        let Self { name, arch, .. } = self;
        match (before.is_empty(), after.is_empty()) {
            (true, _) => (Style::Good, format!("  + {name} {after} ({arch})\n")),
            (_, true) => (Style::Bad, format!("  - {name} {before} ({arch})\n")),
            _ => (Style::Plain, format!("  ~ {name} {before} → {after} ({arch})\n")),
        }
    }
}

impl CapabilityView {
    fn line(&self) -> (Style, String) {
        let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        let style = if self.after.is_empty() { Style::Warn } else { Style::Plain };
        (style, format!("  ~ /{} {} → {}\n", self.path, or_none(&self.before), or_none(&self.after)))
    }
}

impl ArtefactView {
    fn line(&self) -> (Style, String) {
        let name = &self.name;
        let line = match (self.before_bytes, self.after_bytes) {
            (Some(before), Some(after)) => {
                let sign = if after > before { '+' } else { '-' };
                let by = format::size(after.abs_diff(before));
                format!("  ~ {name} {} → {} ({sign}{by})\n", format::size(before), format::size(after))
            }
            (None, Some(after)) => format!("  + {name} {}\n", format::size(after)),
            (before, None) => format!("  - {name} {}\n", format::size(before.unwrap_or(0))),
        };
        (Style::Plain, line)
    }
}

fn file_line(edit: &EditView) -> (Style, String) {
    let EditView { path, change } = edit;
    match change.as_str() {
        "added" => (Style::Good, format!("  + /{path}\n")),
        "removed" => (Style::Bad, format!("  - /{path}\n")),
        change => (Style::Plain, format!("  ~ /{path} ({})\n", change.strip_prefix("changed: ").unwrap_or(change))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: Text) -> String {
        text.into_iter().map(|(_, text)| text).collect()
    }

    fn sample() -> DiffView {
        let change = |name: &str, before: &[&str], after: &[&str]| v1::PackageChange {
            name: name.into(),
            arch: "x86_64".into(),
            before: before.iter().map(ToString::to_string).collect(),
            after: after.iter().map(ToString::to_string).collect(),
        };
        let edit = |path: &str, change: &str| v1::TreeEdit { path: path.into(), change: change.into() };
        let wire = v1::GenerationDiff {
            from: 6,
            to: 7,
            packages_before: 212,
            packages_after: 213,
            packages: vec![
                change("bash", &["5.1"], &["5.2"]),
                change("kernel", &["5.14-70"], &["5.14-427", "5.14-70"]),
                change("strace", &[], &["6.1"]),
                change("vim", &["9"], &[]),
            ],
            files: vec![edit("etc/a", "changed: content, mode"), edit("usr/b", "added"), edit("usr/c", "removed")],
            files_added: 30,
            files_removed: 1,
            files_changed: 1,
            capabilities: vec![v1::CapabilityChange {
                path: "usr/bin/ping".into(),
                before: "cap_net_raw=ep".into(),
                after: String::new(),
            }],
            artefacts: vec![
                v1::ArtefactChange {
                    name: "rootimg.cpio.gz".into(),
                    before_bytes: Some(135_600_000),
                    after_bytes: Some(137_600_000),
                },
                v1::ArtefactChange { name: "kernel".into(), before_bytes: None, after_bytes: Some(10) },
            ],
        };
        wire.into()
    }

    #[test]
    fn everything_that_changed_is_told_with_a_sign() {
        let expected = "compute: generation 6 → 7\n\
            packages: 1 added, 1 gone, 2 changed (212 → 213)\n  \
            ~ bash 5.1 → 5.2 (x86_64)\n  ~ kernel 5.14-70 → 5.14-427, 5.14-70 (x86_64)\n  + strace 6.1 (x86_64)\n  - vim 9 (x86_64)\n\
            files: 30 added, 1 gone, 1 changed\n  ~ /etc/a (content, mode)\n  + /usr/b\n  - /usr/c\n  and 29 more; --files shows them\n\
            capabilities:\n  ~ /usr/bin/ping cap_net_raw=ep → none\n\
            sizes:\n  ~ rootimg.cpio.gz 135.6 MB → 137.6 MB (+2.0 MB)\n  + kernel 10 B\n";
        assert_eq!(words(sample().text("compute", false)), expected);
    }

    #[test]
    fn equal_generations_say_so_and_a_build_that_changed_no_package_says_nothing() {
        let same = DiffView::from(v1::GenerationDiff { from: 1, to: 2, ..v1::GenerationDiff::default() });
        assert_eq!(words(same.text("compute", true)), "compute: generation 1 → 2\nnothing changed\n");
        assert_eq!(words(same.packages_summary("compute")), "");
        let summary = words(sample().packages_summary("compute"));
        assert!(summary.starts_with("\nsince generation 6, packages: 1 added, 1 gone, 2 changed"), "{summary}");
        assert!(summary.ends_with("`imgctl generations diff compute 6 7` shows the files too\n"), "{summary}");
    }
}
