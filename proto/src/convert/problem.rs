//! Problems of what people wrote, each with its place.

use model::problem::Problem;

use super::some_text;
use crate::v1;

impl From<Problem> for v1::Problem {
    fn from(problem: Problem) -> Self {
        let Problem { at, message } = problem;
        Self { at: at.unwrap_or_default(), message }
    }
}

impl From<v1::Problem> for Problem {
    fn from(wire: v1::Problem) -> Self {
        let v1::Problem { at, message } = wire;
        Self { at: some_text(at), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_without_a_place_has_none_on_either_side() {
        for problem in [Problem::new("no"), Problem::at("/a:3", "no")] {
            assert_eq!(Problem::from(v1::Problem::from(problem.clone())), problem);
        }
    }
}
