//! A site of real kernels on one machine: build nodes as QEMU guests on a network of their own, which mount the install
//! root by NFS.
//!
//! Everything lives in namespaces that end with the process that made them ([`apart`]): bridge, taps, mounts, servers and
//! guests. The management node is this machine in there: the coordinator and an NFS server. `make lab` and the test target
//! `nodes` are made of these parts; neither needs KVM, an NFS client in this machine's kernel, or a way out for the nodes.

pub mod apart;
mod disks;
mod guest;
mod mn;
mod network;
mod nfs;
mod node;
mod qga;

pub use disks::{Disk, disk};
pub use guest::{Guest, GuestOptions, run_in};
pub use mn::{Mn, MnOptions, lay_packages};
pub use network::{MN, Network, address};
pub use nfs::{Access, Nfs};
pub use node::{AgentFrom, Mounts, Node, NodeOptions};
pub use qga::Answer;
