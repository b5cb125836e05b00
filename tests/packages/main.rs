//! The packages of a release: installed, upgraded and removed by the package managers that they are for, each in a root
//! of its own. They are made of the programs that `cargo build --workspace --bins` left, by the script that makes a release's.

mod debian;
#[path = "../fixture/dnf.rs"]
mod dnf;
mod made;
mod manual;
mod redhat;
mod root;
