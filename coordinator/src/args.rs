//! The command line of `imgctl-coordinator`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use model::name::UserName;
use model::role::Role;

use crate::config;

/// The imgctl coordinator: holds osimage definitions, gives builds to agents, packs what nodes boot.
#[derive(Debug, Parser)]
#[command(name = "imgctl-coordinator", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `imgctl-coordinator` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the CA, the coordinator's certificate, an admin's identity and a configuration file
    ///
    /// What is there already is kept, except the coordinator's own certificate, which is made anew: repeat it to
    /// renew that one.
    Init(InitArgs),
    /// Run the coordinator
    Run {
        /// The configuration file
        #[arg(long, default_value = config::DEFAULT_PATH)]
        config: PathBuf,
    },
    /// Make an identity for a person: a folder for `imgctl --identity`
    Issue {
        /// The configuration file
        #[arg(long, default_value = config::DEFAULT_PATH)]
        config: PathBuf,
        /// The person's name
        #[arg(long)]
        name: UserName,
        /// viewer, operator or admin
        #[arg(long)]
        role: Role,
        /// The folder to make
        #[arg(long)]
        out: PathBuf,
        /// For how many days it is valid
        #[arg(long, default_value_t = 365)]
        days: u32,
    },
    /// Look whether the state folder and the images below the install root are whole; only while no coordinator runs
    ///
    /// Names everything that is wrong with what to do about it. Exits with 0 when all is well or was put right, with 1
    /// when something needs a person, with 3 when it can't look.
    Check {
        /// The configuration file
        #[arg(long, default_value = config::DEFAULT_PATH)]
        config: PathBuf,
        /// Put right what can be put right without losing anything
        #[arg(long)]
        repair: bool,
        /// Read every artefact and compare its digest
        #[arg(long)]
        digests: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Pack any tree with packimage's own code, without a coordinator
    ///
    /// Packs what is there and adds nothing. Example:
    ///   imgctl-coordinator pack-tree /srv/tree /srv/tree.cpio.gz --exlist /srv/lists/compute.exlist
    PackTree {
        /// The tree
        root: PathBuf,
        /// The archive to write; it replaces an older one when it is complete
        out: PathBuf,
        /// cpio
        #[arg(long, default_value = "cpio")]
        method: String,
        /// gzip (or pigz)
        #[arg(long, default_value = "gzip")]
        compress: String,
        /// Files that say what is left out; may be given several times
        #[arg(long)]
        exlist: Vec<PathBuf>,
        /// Threads to compress with; 0 means one per processor
        #[arg(long, default_value_t = 0)]
        threads: usize,
    },
    /// Unpack an archive from standard input into a folder that it can't leave (used by the coordinator itself)
    #[command(hide = true)]
    Unpack {
        /// The folder
        dest: PathBuf,
        /// The process that it must not outlive
        parent: u32,
    },
}

/// What `init` is told.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The configuration file; written if there is none
    #[arg(long, default_value = config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// Store, keys and logs
    #[arg(long, default_value = "/var/lib/imgctl")]
    pub state_dir: PathBuf,
    /// The install root
    #[arg(long, default_value = "/install")]
    pub install_dir: PathBuf,
    /// The address and port to listen on
    #[arg(long, default_value = "0.0.0.0:7443")]
    pub listen: SocketAddr,
    /// Further names and addresses for the coordinator's certificate
    #[arg(long)]
    pub name: Vec<String>,
    /// Where the admin's identity and the CLI's configuration go [default: ~/.config/imgctl]
    #[arg(long)]
    pub admin_dir: Option<PathBuf>,
}
