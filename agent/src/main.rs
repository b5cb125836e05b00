//! `imgctl-agent`: parse, start logging, call the library.

use std::process::ExitCode;

use agent::args::{Cli, Command};
use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match cli.command {
        Command::Preflight => agent::preflight::child::run(),
        Command::Run { config, allow_emulation } => agent::commands::run(&config, &allow_emulation),
        Command::Join(join) => agent::commands::join(&join),
        Command::Worker { order, recipe } => agent::commands::worker(&order, recipe),
    }
}
