//! Everything that may come with the packages of the lists, found without a solver.
//!
//! More than what will be installed: of a dependency that several packages meet, all are taken (rpm), or the first
//! alternative that there is (apt, which does the same). So what is not among them will not be in the image.

use std::collections::{HashSet, VecDeque};

use super::debversion::holds;
use super::shelf::{Place, Shelf};
use super::stock::{Alternative, Needs, Stock};

/// The packages that may be in an image.
#[derive(Debug)]
pub(crate) struct Closure<'a> {
    shelf: &'a Shelf<'a>,
    reached: HashSet<Place>,
}

impl<'a> Closure<'a> {
    /// All that comes with these packages, and with those that are in every image.
    pub(crate) fn of(shelf: &'a Shelf<'a>, seeds: impl IntoIterator<Item = Place>) -> Self {
        let mut closure = Self { shelf, reached: HashSet::new() };
        let mut open: VecDeque<Place> = seeds.into_iter().collect();
        for (stock, held) in shelf.stocks.iter().enumerate() {
            open.extend(held.base.iter().map(|package| Place { stock, package: *package }));
        }
        // A name is looked up once, however many ask for it.
        let mut asked: HashSet<&str> = HashSet::new();
        while let Some(place) = open.pop_front() {
            if !closure.reached.insert(place) {
                continue;
            }
            let (stock, package) = shelf.at(place);
            match &package.needs {
                Needs::Names(names) => {
                    for name in names.iter().map(|id| stock.text(*id)) {
                        if asked.insert(name) {
                            open.extend(shelf.called(name));
                        }
                    }
                }
                Needs::Choices(choices) => {
                    open.extend(choices.iter().flat_map(|alternatives| first_there(shelf, stock, alternatives)));
                }
            }
        }
        closure
    }

    /// Whether one of the packages has a name, or provides one, that passes a test.
    pub(crate) fn has(&self, test: impl Fn(&str) -> bool) -> bool {
        self.reached.iter().any(|place| {
            let (stock, package) = self.shelf.at(*place);
            test(stock.text(package.name)) || package.provides.iter().any(|id| test(stock.text(*id)))
        })
    }
}

/// The packages of the first alternative that any meets.
fn first_there(shelf: &Shelf<'_>, stock: &Stock, alternatives: &[Alternative]) -> Vec<Place> {
    let meeting = |one: &Alternative| {
        let name = stock.text(one.name);
        let mut named = shelf.named(name);
        if let Some((relation, wanted)) = one.relation {
            named.retain(|place| {
                let (held, package) = shelf.at(*place);
                holds(held.text(package.version.version), relation, stock.text(wanted))
            });
        }
        // What is only provided is taken whatever version it says.
        if named.is_empty() { shelf.providing(name) } else { named }
    };
    alternatives.iter().map(meeting).find(|places| !places.is_empty()).unwrap_or_default()
}
