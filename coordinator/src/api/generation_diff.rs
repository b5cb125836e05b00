//! What `imgctl generations diff` asks for, found among the records, and its answer.

use std::collections::BTreeSet;

use model::generation::GenerationRecord;
use model::id::Generation;
use model::name::ImageName;
use proto::v1;
use rootfs::edits::{Edit, EditKind};
use tonic::Status;

use crate::generation::diff::{CapabilityChange, Diff, PackageChange};

/// Changed files in one answer, to stay well below what a message can hold.
const MAX_FILES: u32 = 20_000;

/// The two generations to compare: by their numbers, else the newest and the one before.
pub(super) fn pair(
    name: &ImageName,
    records: Vec<GenerationRecord>,
    from: Option<Generation>,
    to: Option<Generation>,
) -> Result<(GenerationRecord, GenerationRecord), Status> {
    let missing = |what: String| {
        Status::not_found(format!("`{name}` has no {what}; `imgctl generations list {name}` shows what there is"))
    };
    let numbered = |number: Generation| {
        let record = records.iter().find(|record| record.number == number).cloned();
        record.ok_or_else(|| missing(format!("generation {number}")))
    };
    let after = match to {
        Some(number) => numbered(number)?,
        None => records.last().cloned().ok_or_else(|| missing("generation yet".to_owned()))?,
    };
    let before = match from {
        Some(number) => numbered(number)?,
        None => {
            let earlier = records.iter().rev().find(|record| record.number < after.number).cloned();
            earlier.ok_or_else(|| missing(format!("generation before {}", after.number)))?
        }
    };
    Ok((before, after))
}

/// The answer; of the changed files at most `max_files`.
pub(super) fn on_wire(
    found: Diff,
    before: &GenerationRecord,
    after: &GenerationRecord,
    max_files: u32,
) -> v1::GenerationDiff {
    let count = |is: fn(&EditKind) -> bool| found.files.iter().filter(|edit| is(&edit.kind)).count() as u64;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::GenerationDiff {
        from: before.number.get(),
        to: after.number.get(),
        packages_before: number(found.packages_count.0),
        packages_after: number(found.packages_count.1),
        files_added: count(|kind| *kind == EditKind::Added),
        files_removed: count(|kind| *kind == EditKind::Removed),
        files_changed: count(|kind| matches!(kind, EditKind::Changed(_))),
        files: found.files.iter().take(max_files.min(MAX_FILES) as usize).map(tree_edit).collect(),
        packages: found.packages.into_iter().map(Into::into).collect(),
        capabilities: found.capabilities.into_iter().map(Into::into).collect(),
        artefacts: artefact_changes(before, after),
    }
}

fn tree_edit(edit: &Edit) -> v1::TreeEdit {
    v1::TreeEdit { path: edit.path.to_string(), change: edit.change() }
}

impl From<PackageChange> for v1::PackageChange {
    fn from(change: PackageChange) -> Self {
        let PackageChange { name, arch, before, after } = change;
        Self { name, arch, before, after }
    }
}

impl From<CapabilityChange> for v1::CapabilityChange {
    fn from(change: CapabilityChange) -> Self {
        let CapabilityChange { path, before, after } = change;
        Self { path, before: before.unwrap_or_default(), after: after.unwrap_or_default() }
    }
}

fn artefact_changes(before: &GenerationRecord, after: &GenerationRecord) -> Vec<v1::ArtefactChange> {
    let bytes = |record: &GenerationRecord, name: &str| {
        record.artefacts.iter().find(|artefact| artefact.name == name).map(|artefact| artefact.bytes)
    };
    let names: BTreeSet<&str> =
        before.artefacts.iter().chain(&after.artefacts).map(|artefact| artefact.name.as_str()).collect();
    let changes = names.into_iter().map(|name| v1::ArtefactChange {
        name: name.to_owned(),
        before_bytes: bytes(before, name),
        after_bytes: bytes(after, name),
    });
    changes.filter(|change| change.before_bytes != change.after_bytes).collect()
}

#[cfg(test)]
mod tests {
    use model::build::Artefact;
    use model::generation::GenerationState;
    use model::id::BuildId;
    use rootfs::path::TreePath;

    use super::*;

    fn record(number: u32, artefacts: &[(&str, u64)]) -> GenerationRecord {
        let artefact = |(name, bytes): &(&str, u64)| Artefact {
            name: (*name).into(),
            path: format!("/x/{name}").into(),
            bytes: *bytes,
            digest: None,
        };
        GenerationRecord {
            number: Generation::new(number).unwrap(),
            osimage: "compute".parse().unwrap(),
            build: BuildId::FIRST,
            rootimgdir: "/install/r".into(),
            state: GenerationState::Packed,
            tree_of: None,
            built_ms: 1,
            packed_ms: 2,
            kernel_version: "6.1".into(),
            agent: "n1".parse().unwrap(),
            packages: 1,
            emulated_on: None,
            artefacts: artefacts.iter().map(artefact).collect(),
        }
    }

    #[test]
    fn without_numbers_the_newest_is_compared_with_the_one_before() {
        let name: ImageName = "compute".parse().unwrap();
        let records = || [2, 5, 7].map(|number| record(number, &[])).to_vec();
        let numbers = |from: u32, to: u32| {
            let (before, after) = pair(&name, records(), Generation::new(from), Generation::new(to))?;
            Ok::<_, Status>((before.number.get(), after.number.get()))
        };
        assert_eq!(numbers(0, 0).unwrap(), (5, 7));
        assert_eq!(numbers(0, 5).unwrap(), (2, 5));
        assert_eq!(numbers(7, 2).unwrap(), (7, 2));
        assert_eq!(numbers(2, 0).unwrap(), (2, 7));
        let list = "`imgctl generations list compute` shows what there is";
        assert_eq!(numbers(0, 2).unwrap_err().message(), format!("`compute` has no generation before 2; {list}"));
        assert_eq!(numbers(3, 7).unwrap_err().message(), format!("`compute` has no generation 3; {list}"));
        assert_eq!(pair(&name, Vec::new(), None, None).unwrap_err().code(), tonic::Code::NotFound);
    }

    #[test]
    fn all_files_are_counted_and_only_some_come_along() {
        let edit = |number: u32, kind| Edit { path: TreePath::parse(format!("f{number}")).unwrap(), kind };
        let kinds = [EditKind::Added, EditKind::Added, EditKind::Removed, EditKind::Changed(Vec::new())];
        let files = kinds.into_iter().enumerate().map(|(at, kind)| edit(at as u32, kind)).collect();
        let found = Diff { files, ..Diff::default() };
        let (before, after) = (record(1, &[("kernel", 5), ("old", 1)]), record(2, &[("kernel", 5), ("rootimg", 9)]));
        let wire = on_wire(found, &before, &after, 1);
        assert_eq!((wire.files_added, wire.files_removed, wire.files_changed, wire.files.len()), (2, 1, 1, 1));
        let sizes: Vec<_> = wire.artefacts.iter().map(|a| (a.name.as_str(), a.before_bytes, a.after_bytes)).collect();
        assert_eq!(sizes, [("old", Some(1), None), ("rootimg", None, Some(9))]);
    }
}
