//! The verbs, one file per noun or verb: each asks the coordinator and shows what it says.

mod agents;
mod build;
mod builds;
mod dry_run;
mod explain;
mod generations;
mod once;
mod osimage;
mod resolve;
mod submit;

use model::problem::Problem;
use proto::v1;

use crate::args::Verb;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::Printer;

/// What every verb needs.
#[derive(Debug, Clone)]
pub struct Context {
    /// The way to the coordinator.
    pub client: Client,
    /// The way to the user.
    pub printer: Printer,
}

/// Does what was asked.
pub async fn execute(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::Build(args) => build::build(args, context).await,
        Verb::Genimage(args) => build::genimage(args, context).await,
        Verb::Packimage(args) => build::packimage(args, context).await,
        Verb::Generations(verb) => generations::execute(verb, context).await,
        Verb::Osimage(verb) => osimage::execute(verb, context).await,
        Verb::Resolve { name, set } => resolve::resolve(name, set, context).await,
        Verb::Builds(verb) => builds::execute(verb, context).await,
        Verb::Explain { build } => explain::explain(build, context).await,
        Verb::Agents(verb) => agents::execute(verb, context).await,
    }
}

impl Context {
    /// Tells every problem of what was given; nothing was done if there is one.
    fn refuse_problems(&self, problems: Vec<v1::Problem>) -> Result<(), Failure> {
        if problems.is_empty() {
            return Ok(());
        }
        for problem in problems {
            self.printer.error(&Problem::from(problem).to_string());
        }
        Err(Failure::told(Exit::Refused))
    }

    fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            self.printer.warning(warning);
        }
    }

    /// A table, or in words that there is nothing.
    fn table(&self, head: &[&str], rows: &[Vec<String>], nothing: &str) -> Result<(), Failure> {
        if rows.is_empty() {
            self.printer.note(nothing);
            return Ok(());
        }
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| crate::output::printable(cell).into_owned()).collect())
            .collect();
        self.printer.out(&crate::table::table(head, &rows, self.printer.width()))
    }

    /// `    name: value` lines under a head, as everything is shown.
    fn fields(&self, head: &str, fields: &[(&str, String)]) -> Result<(), Failure> {
        let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
        let mut text = format!("{head}\n");
        for (name, value) in fields {
            let label = format!("{name}:");
            text += &format!("  {label:<widest$}  {}\n", crate::format::or_nothing(value));
        }
        self.printer.out(&text)
    }
}
