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
        // Each package waits its turn once, however many ask for it: a few names may stand for all that there are.
        let (mut reached, mut open) = (HashSet::new(), VecDeque::new());
        let mut reach = |places: Vec<Place>, open: &mut VecDeque<Place>| {
            open.extend(places.into_iter().filter(|place| reached.insert(*place)));
        };
        reach(seeds.into_iter().collect(), &mut open);
        for (stock, held) in shelf.stocks.iter().enumerate() {
            reach(held.base.iter().map(|package| Place { stock, package: *package }).collect(), &mut open);
        }
        // A name is looked up once, and so is a dependency of one repository's.
        let (mut asked, mut met) = (HashSet::new(), HashSet::new());
        while let Some(place) = open.pop_front() {
            let (stock, package) = shelf.at(place);
            match &package.needs {
                Needs::Names(names) => {
                    for name in names.iter().map(|id| stock.text(*id)) {
                        if asked.insert(name) {
                            reach(shelf.called(name), &mut open);
                        }
                    }
                }
                Needs::Choices(choices) => {
                    for alternatives in choices.iter().filter(|one| met.insert((place.stock, *one))) {
                        reach(first_there(shelf, stock, alternatives), &mut open);
                    }
                }
            }
        }
        Self { shelf, reached }
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
