//! Build nodes that this machine isn't, each with one whole build: one with a kernel of its own and the install root by NFS, and one
//! of another architecture. What `make lab` does at length is here in minutes, and both at once, as each takes one processor.

mod binfmt;
mod emulated;
mod nfs;
