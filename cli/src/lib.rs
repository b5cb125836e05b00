//! The `imgctl` command as a library: [`run`] is the program, and tests call it.
//!
//! [`args`] is the command tree, [`profile`] and [`client`] are the way to the coordinator, [`commands`] the verbs,
//! [`follow`] what shows running builds. [`output`] alone prints; [`failure`] alone knows what an error means.

pub mod args;
pub mod client;
pub mod commands;
pub mod diff;
pub mod failure;
pub mod follow;
pub mod format;
pub mod output;
pub mod profile;
pub mod table;
pub mod view;

#[cfg(test)]
mod testing;

use std::ffi::OsString;

use clap::Parser as _;

use args::{Cli, Global};
use client::Client;
use commands::Context;
pub use failure::Exit;
use failure::Failure;
use output::Printer;
pub use output::{Streams, Wishes};
use profile::Flags;

/// Runs one command line. `env` reads the environment; nothing below reads it otherwise.
pub async fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<String>,
    streams: Streams,
) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error, &Printer::new(streams, Wishes::default())),
    };
    let Global { coordinator, identity, config, json, quiet, no_color } = cli.global;
    let no_color = no_color || env("NO_COLOR").is_some_and(|value| !value.is_empty());
    let printer = Printer::new(streams, Wishes { json, quiet, no_color });
    let flags = Flags { config, coordinator, identity };
    let outcome = async {
        let profile = profile::load(&flags, &env)?;
        let client = Client::connect(&profile).await?;
        commands::execute(cli.verb, &Context { client, printer: printer.clone() }).await
    };
    outcome.await.unwrap_or_else(|failure: Failure| {
        printer.failure(&failure);
        failure.exit
    })
}

/// What clap has to say: help that was asked for is data, all else is an error.
fn explain_usage(error: &clap::Error, printer: &Printer) -> Exit {
    let text = error.render().to_string();
    match error.use_stderr() {
        false => printer.out(&text).map_or_else(|failure| failure.exit, |()| Exit::Done),
        true => {
            printer.usage(&text);
            Exit::Usage
        }
    }
}

#[cfg(test)]
mod tests;
