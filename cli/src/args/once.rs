//! genimage's options, by xCAT's letters and with xCAT's meaning (XCAT.md 6.1), for one build alone.

use clap::Args;
use model::wish::TmpfsSize;

/// What is asked of genimage beyond the definition.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "genimage, for this build alone")]
pub struct OnceArgs {
    /// Boot interface, written into the image (nodebootif)
    #[arg(short = 'i', value_name = "IF")]
    pub boot_interface: Option<String>,
    /// Further interfaces to configure by DHCP (otherifce)
    #[arg(short = 'r', value_name = "IF,…")]
    pub other_interfaces: Option<String>,
    /// Drivers for the initrds, in front of the default list, which stays (netdrivers)
    ///
    /// A driver that is named here and that the image's kernel has must be in both initrds, or the build fails; one
    /// that the kernel lacks is reported and left out. `allupdate` takes every module from driver packages.
    #[arg(short = 'n', value_name = "DRIVER,…")]
    pub drivers: Option<String>,
    /// Kernel to install and to use, as `uname -r` prints it (kernelver)
    #[arg(short = 'k', value_name = "RELEASE")]
    pub kernel: Option<String>,
    /// SLES: version of that kernel's package (krpmver)
    #[arg(short = 'g', value_name = "VERSION")]
    pub kernel_package: Option<String>,
    /// Repository with further kernels, used with -k (kerneldir) [default: <install root>/kernels]
    #[arg(long, value_name = "DIR")]
    pub kerneldir: Option<String>,
    /// Mode of statelite's mount point (permission)
    #[arg(long, value_name = "MODE")]
    pub permission: Option<String>,
    /// Any other attribute: attr=value, attr+=item, attr-=item, attr= (clears)
    #[arg(long, value_name = "CHANGE", value_parser = super::change)]
    pub set: Vec<String>,
    /// Limit of the root's tmpfs on a booted node, such as 50% or 8G; a node's own rootlimit= wins
    #[arg(short = 'l', value_name = "SIZE")]
    pub root_limit: Option<TmpfsSize>,
    /// Without effect: was for images without systemd
    #[arg(short = 't', value_name = "SIZE")]
    pub tmp_limit: Option<TmpfsSize>,
    /// Don't update packages that are installed already (update=no)
    #[arg(long)]
    pub noupdate: bool,
    /// Take modules from driver packages that were built for another kernel
    #[arg(long)]
    pub ignorekernelchk: bool,
    /// Only the initrds, from the newest root image as it stands
    #[arg(long)]
    pub onlyinitrd: bool,
    /// Refused: the package manager runs on another machine, without a terminal
    #[arg(long)]
    pub interactive: bool,
    /// Write the attributes that are given here into the definition too
    #[arg(long)]
    pub save: bool,
    /// Resolve and check, show the plan and which agents could run it now, and queue nothing
    #[arg(long)]
    pub dryrun: bool,
}
