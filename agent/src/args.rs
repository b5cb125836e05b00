//! The command line; its help text is the manual.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use model::arch::Arch;

use crate::config::DEFAULT_PATH;

/// Builds operating-system images on this node for an imgctl coordinator.
#[derive(Debug, Parser)]
#[command(name = "imgctl-agent", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connects to the coordinator and builds what it assigns, until stopped
    Run {
        /// The configuration
        #[arg(long, default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// Build images of this architecture under emulation (qemu-user), if no native agent is known; may be repeated
        #[arg(long, value_name = "ARCH", value_delimiter = ',')]
        allow_emulation: Vec<Arch>,
    },
    /// Makes a key on this node and has the coordinator certify it, with a one-time token
    Join(Join),
    /// Looks at the install root; started by the agent itself
    #[command(hide = true)]
    Preflight,
    /// Carries out one attempt; started by the agent itself
    #[command(hide = true)]
    Worker {
        /// The order's file
        #[arg(long)]
        order: PathBuf,
        /// Not pid 1 but its child, which does the work
        #[arg(long)]
        recipe: bool,
    },
}

/// Exit status 0: joined; 2: wrong usage; 3: the coordinator refused; 4: it can't be reached
#[derive(Debug, Args)]
pub struct Join {
    /// Where the coordinator listens, HOST:PORT
    #[arg(long)]
    pub coordinator: String,
    /// The one-time token (`imgctl agents token` prints one)
    #[arg(long)]
    pub token: String,
    /// sha256 of the coordinator's CA, printed with the token
    #[arg(long)]
    pub ca_fingerprint: String,
    /// The name to join as; this node's host name if not given
    #[arg(long)]
    pub name: Option<String>,
    /// The agent's configuration, which says where the identity is kept
    #[arg(long, conflicts_with = "identity")]
    pub config: Option<PathBuf>,
    /// Where to keep the identity
    #[arg(long, value_name = "DIR")]
    pub identity: Option<PathBuf>,
}
