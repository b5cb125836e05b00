//! Build nodes that this machine isn't: one with a kernel of its own and the install root by NFS, and ones for another
//! architecture. What `make lab` does at length is here in minutes, and both at once, as a build takes one processor.

mod binfmt;
mod emulated;
mod nfs;
