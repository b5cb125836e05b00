//! The command tree. Help text is the manual: every verb says what it does and shows an example.

mod once;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use model::arch::Arch;
use model::id::{Attempt, BuildId};
use model::name::{AgentName, ImageName};
use model::osimage::AttributeChange;

pub use self::once::OnceArgs;

/// The verbs in groups, shown by `imgctl` alone and `imgctl --help`.
const GROUPS: &str = "\
Images:
  build        Build osimages: genimage on an agent, then packimage on the management node
  genimage     Build the root image alone, to edit it before it is packed
  packimage    Pack the newest root image and put it live
  generations  What builds left: list, show, compare, put an older one live

Definitions:
  osimage      Create, change, show, copy, import and export osimage definitions
  resolve      Show what would be built, without building

Builds:
  builds       List builds, show one, read its log, cancel, retry
  explain      Say why a build waits or why it failed

Nodes:
  agents       List the build nodes, show one, let one join, drain and remove
";

const TEMPLATE: &str = "\
{about-with-newline}
{usage-heading} {usage}

{before-help}Options:
{options}{after-help}";

const AFTER: &str = "
Exit codes: 0 done, 1 a build failed, 2 usage, 3 refused or not found, 4 coordinator not reachable,
130 detached by Ctrl-C. `imgctl VERB --help` is the manual of a verb, with examples.";

/// Builds the operating-system images of a cluster, on nodes of their own architecture.
#[derive(Debug, Parser)]
#[command(
    name = "imgctl",
    version,
    help_template = TEMPLATE,
    before_help = GROUPS,
    after_help = AFTER,
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub struct Cli {
    /// What goes for every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options that every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Global {
    /// The coordinator's address [env IMGCTL_COORDINATOR]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub coordinator: Option<String>,
    /// Folder with cert.pem, key.pem and ca.pem [env IMGCTL_IDENTITY; default ~/.config/imgctl/identity]
    #[arg(long, global = true, value_name = "DIR")]
    pub identity: Option<PathBuf>,
    /// Configuration file [env IMGCTL_CONFIG; default ~/.config/imgctl/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print results and errors alone
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// No colours (as the variable NO_COLOR does)
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Build osimages: genimage on an agent, then packimage on the management node
    ///
    /// Follows the build and shows its log; several builds are shown side by side. Ctrl-C asks whether to
    /// cancel or to leave the build running.
    #[command(after_help = "\
Examples:
  imgctl build compute-el9                   one osimage, with its log
  imgctl build compute --arch ppc64le        a profile, one architecture
  imgctl build --arch x86_64,ppc64le --yes   every osimage of two architectures
  imgctl build compute-el9 --detach          only queue it and print its number")]
    Build(BuildArgs),
    /// Build the root image alone, to edit it before it is packed
    ///
    /// Options change nothing of the definition unless --save is given. What they come to is shown by --dryrun.
    #[command(after_help = "\
Examples:
  imgctl genimage compute-el9 && vi /install/netboot/…/rootimg/etc/fstab && imgctl packimage compute-el9
  imgctl genimage compute-el9 -n ice,mlx5_core --dryrun       the plan, and who could build it now
  imgctl genimage compute-el9 -k 5.14.0-427.13.1.el9_4.x86_64 --kerneldir /install/kernels/9.4
  imgctl genimage compute-el9 -i eno1 -l 50% --save           eno1 stays in the definition")]
    Genimage(GenimageArgs),
    /// Pack the newest root image and put it live
    #[command(after_help = "\
Examples:
  imgctl packimage compute-el9
  imgctl packimage compute-el9 -c zstd
  imgctl packimage compute-el9 -m cpio -c zstd --nosyncfiles")]
    Packimage(PackimageArgs),
    /// What builds left: list, show, compare, put an older one live
    #[command(subcommand)]
    Generations(GenerationsVerb),
    /// Create, change, show, copy, import and export osimage definitions
    #[command(subcommand)]
    Osimage(OsimageVerb),
    /// Show what would be built, without building
    ///
    /// With --json prints the build plan byte for byte as an agent gets it.
    #[command(after_help = "\
Examples:
  imgctl resolve compute-el9
  imgctl resolve compute-el9 --set kernelver=5.14.0-427.13.1.el9_4.x86_64
  imgctl resolve compute-el9 --json | jq '.passes[].install[].name'")]
    Resolve {
        /// The osimage
        name: ImageName,
        /// With other attributes, for this once: attr=value, attr+=item, attr-=item, attr=
        #[arg(long, value_name = "CHANGE", value_parser = change)]
        set: Vec<String>,
    },
    /// List builds, show one, read its log, cancel, retry
    #[command(subcommand)]
    Builds(BuildsVerb),
    /// Say why a build waits or why it failed
    #[command(after_help = "Example:\n  imgctl explain 12")]
    Explain {
        /// The build's number
        build: BuildId,
    },
    /// List the build nodes, show one, let one join, drain, remove
    #[command(subcommand)]
    Agents(AgentsVerb),
}

/// How packimage packs.
#[derive(Debug, Clone, Default, Args)]
pub struct PackArgs {
    /// Archive method [default: cpio]
    #[arg(long, short = 'm')]
    pub method: Option<String>,
    /// Compression: gzip, pigz or zstd [default: gzip]
    #[arg(long, short = 'c')]
    pub compress: Option<String>,
    /// Leave the files of synclists out
    #[arg(long)]
    pub nosyncfiles: bool,
}

/// `build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Osimages, or profiles; none: every osimage of --arch
    pub names: Vec<String>,
    /// Only these architectures
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    pub arch: Vec<Arch>,
    /// Stop when the root image is made, as genimage does
    #[arg(long, conflicts_with_all = ["method", "compress", "nosyncfiles"])]
    pub no_pack: bool,
    /// Of a profile that several osvers have, build all
    #[arg(long)]
    pub all: bool,
    /// Answer yes to "build all of these?"
    #[arg(long, short)]
    pub yes: bool,
    /// How to run
    #[command(flatten)]
    pub run: RunArgs,
    /// How to pack
    #[command(flatten)]
    pub pack: PackArgs,
    /// What to build otherwise than the definition says
    #[command(flatten)]
    pub once: OnceArgs,
}

/// How a build is run and followed.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Only on this agent
    #[arg(long)]
    pub agent: Option<AgentName>,
    /// Queue it, print its number and return
    #[arg(long, short)]
    pub detach: bool,
    /// Build anew although the tree was edited by hand; the edits are lost
    #[arg(long)]
    pub discard_edits: bool,
    /// Higher goes first among the builds that wait; from -100 to 100
    #[arg(long, default_value_t = 0, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-100..=100))]
    pub priority: i32,
}

/// `genimage`.
#[derive(Debug, Args)]
pub struct GenimageArgs {
    /// The osimage
    pub name: String,
    /// How to run
    #[command(flatten)]
    pub run: RunArgs,
    /// What to build otherwise than the definition says
    #[command(flatten)]
    pub once: OnceArgs,
}

/// `packimage`.
#[derive(Debug, Args)]
pub struct PackimageArgs {
    /// The osimage
    pub name: String,
    /// How to pack
    #[command(flatten)]
    pub pack: PackArgs,
    /// Queue it, print its number and return
    #[arg(long, short)]
    pub detach: bool,
}

/// `osimage …`.
#[derive(Debug, Subcommand)]
pub enum OsimageVerb {
    /// Create a definition
    #[command(after_help = "\
Example:
  imgctl osimage create lab-compute osvers=debian12 osarch=x86_64 profile=compute provmethod=netboot \\
      pkgdir=/install/debian12/x86_64 pkglist=/install/custom/compute.pkglist")]
    Create {
        /// Its name
        name: ImageName,
        /// Fill in lists and directories from profile, provmethod, osvers and osarch, as `mkdef -u`
        #[arg(short = 'u', long)]
        fill: bool,
        /// What it is to hold
        #[arg(value_name = "ATTR=VALUE", value_parser = change)]
        changes: Vec<String>,
    },
    /// Change attributes; all of them or none
    #[command(after_help = "\
Examples:
  imgctl osimage set compute-el9 postinstall=/install/custom/compute.postinstall
  imgctl osimage set compute-el9 pkglist+=/install/custom/mpi.pkglist synclists=
  imgctl osimage set compute-el9 --revision 7 kernelver=5.14.0-427.13.1.el9_4.ppc64le")]
    Set {
        /// The osimage
        name: ImageName,
        /// Only if the definition still has this revision
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
        /// attr=value, attr+=item, attr-=item, attr= (clears)
        #[arg(value_name = "CHANGE", required = true, value_parser = change)]
        changes: Vec<String>,
    },
    /// Show definitions, in the form of `lsdef -l`
    #[command(after_help = "\
Examples:
  imgctl osimage show compute-el9
  imgctl osimage show compute-el9 -i pkglist,kernelver")]
    Show {
        /// The osimages
        #[arg(required = true)]
        names: Vec<ImageName>,
        /// Only these attributes, shown even when they are not set
        #[arg(short = 'i', long = "attributes", value_delimiter = ',', value_name = "ATTR")]
        attributes: Vec<String>,
    },
    /// List all definitions
    #[command(after_help = "Example:\n  imgctl osimage list")]
    List,
    /// Remove definitions; never touches files
    #[command(visible_alias = "remove", after_help = "Example:\n  imgctl osimage rm compute-el8 login-el8")]
    Rm {
        /// The osimages
        #[arg(required = true)]
        names: Vec<ImageName>,
    },
    /// Rename a definition; its rootimgdir stays
    #[command(after_help = "Example:\n  imgctl osimage rename compute compute-el9")]
    Rename {
        /// The osimage
        from: ImageName,
        /// Its new name
        to: ImageName,
    },
    /// Copy a definition; the copy gets a rootimgdir of its own
    #[command(after_help = "Example:\n  imgctl osimage copy compute-el9 gpu-el9")]
    Copy {
        /// The osimage
        from: ImageName,
        /// The copy
        to: ImageName,
    },
    /// Take over stanzas, as `lsdef -t osimage -z` writes them; all of them or none
    #[command(after_help = "\
Examples:
  imgctl osimage import site.stanza
  lsdef -t osimage -z | imgctl osimage import --xcat -
  imgctl osimage export compute | sed 's/^compute:/compute2:/' | imgctl osimage import -")]
    Import {
        /// Replace definitions that exist
        #[arg(long)]
        replace: bool,
        /// Don't check signatures of repositories that say nothing of them, as xCAT; each is named
        #[arg(long)]
        xcat: bool,
        /// A stanza file, or - for standard input
        file: PathBuf,
    },
    /// Write definitions as stanzas, which `mkdef -z` and `import` read
    #[command(after_help = "Example:\n  imgctl osimage export compute-el9 -o compute.stanza")]
    Export {
        /// The osimages; none: all
        names: Vec<ImageName>,
        /// Into this file
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// `builds …`.
#[derive(Debug, Subcommand)]
pub enum BuildsVerb {
    /// List builds, newest first
    #[command(after_help = "Example:\n  imgctl builds list --active")]
    List {
        /// Only builds that have not ended
        #[arg(long)]
        active: bool,
        /// Only builds of this osimage
        #[arg(long, value_name = "NAME")]
        osimage: Option<ImageName>,
        /// At most this many
        #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// Show a build: its stages, attempts and artefacts
    #[command(after_help = "Example:\n  imgctl builds show 12")]
    Show {
        /// The build's number
        build: BuildId,
    },
    /// Print a build's log
    #[command(after_help = "\
Examples:
  imgctl builds logs 12
  imgctl builds logs -f 12                    go on until the build ends
  imgctl builds logs 12 --attempt 1 --from 500")]
    Logs {
        /// The build's number
        build: BuildId,
        /// Go on until the build ends
        #[arg(short, long)]
        follow: bool,
        /// Of this attempt alone; without it the newest
        #[arg(long, value_name = "N")]
        attempt: Option<Attempt>,
        /// From this line on
        #[arg(long, default_value_t = 1, value_name = "LINE")]
        from: u64,
    },
    /// Cancel builds
    #[command(after_help = "Example:\n  imgctl builds cancel 12 13")]
    Cancel {
        /// The builds' numbers
        #[arg(required = true)]
        builds: Vec<BuildId>,
    },
    /// Build once more with the same wishes, under a new number
    #[command(after_help = "Example:\n  imgctl builds retry 12")]
    Retry {
        /// The build's number
        build: BuildId,
        /// Build anew although the tree was edited by hand; the edits are lost
        #[arg(long)]
        discard_edits: bool,
        /// Queue it, print its number and return
        #[arg(long, short)]
        detach: bool,
    },
}

/// `agents …`.
#[derive(Debug, Subcommand)]
pub enum AgentsVerb {
    /// List the build nodes
    #[command(after_help = "Example:\n  imgctl agents list")]
    List,
    /// Show what a build node says of itself
    #[command(after_help = "Example:\n  imgctl agents show p9-01")]
    Show {
        /// The agent
        name: AgentName,
    },
    /// Give build nodes no more work; what they have in hand they end
    #[command(after_help = "Example:\n  imgctl agents drain p9-01 --reason 'new disk on Monday'")]
    Drain {
        /// The agents
        #[arg(required = true)]
        names: Vec<AgentName>,
        /// For whoever wonders later
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Give drained build nodes work again
    #[command(after_help = "Example:\n  imgctl agents undrain p9-01")]
    Undrain {
        /// The agents
        #[arg(required = true)]
        names: Vec<AgentName>,
    },
    /// Cut build nodes off at once; what they have in hand is queued again
    #[command(visible_alias = "remove", after_help = "Example:\n  imgctl agents rm p9-01")]
    Rm {
        /// The agents
        #[arg(required = true)]
        names: Vec<AgentName>,
    },
    /// Make a token that lets one agent join, once
    #[command(after_help = "\
Examples:
  imgctl agents token
  imgctl agents token --agent p9-01 --valid 10m")]
    Token {
        /// Only an agent of this name may use it
        #[arg(long)]
        agent: Option<AgentName>,
        /// How long it is valid
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration, value_name = "DURATION")]
        valid: Duration,
    },
}

/// `generations …`.
#[derive(Debug, Subcommand)]
pub enum GenerationsVerb {
    /// List the generations of an osimage, newest first
    #[command(after_help = "Example:\n  imgctl generations list compute-el9")]
    List {
        /// The osimage
        osimage: ImageName,
    },
    /// Show a generation: its artefacts, and edits of its tree
    #[command(after_help = "Examples:\n  imgctl generations show compute-el9\n  imgctl generations show compute-el9 7")]
    Show {
        /// The osimage
        osimage: ImageName,
        /// Its number; without it the live one
        number: Option<u32>,
    },
    /// Put a packed generation live, as after a bad image; it stays so until the next packimage
    #[command(after_help = "Example:\n  imgctl generations activate compute-el9 6")]
    Activate {
        /// The osimage
        osimage: ImageName,
        /// Its number; 0 is what xCAT left
        number: u32,
    },
    /// Compare two generations: packages, files, capabilities, sizes
    #[command(after_help = "\
Examples:
  imgctl generations diff compute-el9            # the newest with the one before
  imgctl generations diff compute-el9 5 7 --files")]
    Diff {
        /// The osimage
        osimage: ImageName,
        /// The earlier one; without it the one before the later
        from: Option<u32>,
        /// The later one; without it the newest
        to: Option<u32>,
        /// Name every file that changed, not only the first few
        #[arg(long)]
        files: bool,
    },
}

/// Checks the form here, where a slip costs no round trip; what it means is the coordinator's to judge.
fn change(text: &str) -> Result<String, model::osimage::definition::InvalidChange> {
    text.parse::<AttributeChange>().map(|_| text.to_owned())
}

#[cfg(test)]
mod tests;
