//! `imgctl-coordinator`: reads the command line and calls the library.

use std::process::ExitCode;

use clap::Parser as _;
use coordinator::args::{Args, Command};
use coordinator::check::Wanted;
use coordinator::{command, config::Config};

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run { config } => command::daemon(|| Config::load(&config)),
        Command::Init(args) => command::init(args),
        Command::Issue { config, name, role, out, days } => command::issue(&config, &name, role, &out, days),
        Command::Check { config, repair, digests, json } => command::check(&config, Wanted { repair, digests }, json),
        Command::PackTree { root, out, method, compress, exlist, threads } => {
            command::pack_tree(&root, &out, &method, &compress, &exlist, threads)
        }
        Command::Unpack { dest, parent } => command::unpack(&dest, parent),
    }
}
