//! What the lists name now and did not when the newest generation was built, and the reverse: told before a rebuild.

use std::collections::BTreeSet;

use model::generation::GenerationRecord;
use model::plan::{BuildPlan, Pass};
use serde::Deserialize;

use super::made::Made;
use crate::plans::Plans;
use crate::store::Store;

/// Names that are told of each kind.
const NAMES: usize = 20;

/// The part of an older plan, of whatever version, that is compared.
#[derive(Deserialize)]
struct Lists {
    passes: Vec<Pass>,
    other_passes: Vec<Pass>,
}

/// One sentence; none if the lists name the same, or there is nothing to compare with.
pub(super) fn since(store: &Store, plans: &Plans, made: &Made) -> Option<String> {
    let plan = &made.found.plan;
    let generations = store.generations(&plan.rootimgdir).ok()?;
    let (number, before) =
        generations.iter().rev().find_map(|record| Some((record.number, lists_of(store, plans, record)?)))?;
    let told = sentence(&names(&before.passes, &before.other_passes), &wanted(plan))?;
    Some(format!("{}: since generation {number} was built, the lists {told}", made.osimage.name))
}

/// A generation that was only packed again has no plan of its own, and one that only got other initrds no lists in it; the
/// one that it came from is looked at next.
fn lists_of(store: &Store, plans: &Plans, record: &GenerationRecord) -> Option<Lists> {
    let build = store.build(record.build).ok()??;
    let digest = build.plan.filter(|_| !build.genimage.only_initrd)?;
    serde_json::from_slice(&plans.read(&digest).ok()?).ok()
}

fn wanted(plan: &BuildPlan) -> BTreeSet<String> {
    names(&plan.passes, &plan.other_passes)
}

fn names(passes: &[Pass], other: &[Pass]) -> BTreeSet<String> {
    let items = passes.iter().chain(other).flat_map(|pass| &pass.install);
    items
        .map(|item| match &item.subdir {
            Some(subdir) => format!("{subdir}/{}", item.name),
            None => item.name.clone(),
        })
        .collect()
}

fn sentence(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Option<String> {
    let parts = [("gained", after.difference(before)), ("lost", before.difference(after))];
    let parts: Vec<String> = parts
        .into_iter()
        .filter_map(|(verb, names)| {
            let names: Vec<&str> = names.map(String::as_str).collect();
            let (shown, rest) = names.split_at(names.len().min(NAMES));
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            (!shown.is_empty()).then(|| format!("{verb} {}{more}", shown.join(", ")))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_names_that_came_and_went_are_one_sentence() {
        let told = |before: &[&str], after: &[&str]| sentence(&set(before), &set(after));
        assert_eq!(told(&["a", "b"], &["a", "b"]), None);
        assert_eq!(told(&["a"], &["a", "c", "b"]).unwrap(), "gained b, c");
        assert_eq!(told(&["a", "gpfs/base"], &["b"]).unwrap(), "gained b and lost a, gpfs/base");
        let many: Vec<String> = (10..40).map(|number| format!("p{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let told = told(&many, &[]).unwrap();
        assert!(told.starts_with("lost p10, ") && told.ends_with(", p29 and 10 more"), "{told}");
    }
}
