//! The session protocol in simulated time: real coordinator, real agents, real TLS, over turmoil's network, which is
//! cut, held up and slowed down at will.
//!
//! Scripted are the workers alone ([`worker`]): a process could not keep to simulated time. Builds are queued in the
//! store beforehand ([`prepare`]). Each test is a site of its own ([`site`]); what must hold in every step is in
//! [`ledger`], what must hold at the end in [`verdict`].

mod archive;
mod cut;
mod flapping;
mod ledger;
mod long_cuts;
mod moment;
mod net;
mod prepare;
mod random;
mod refusals;
mod restarts;
mod short_cuts;
mod site;
mod verdict;
mod worker;

/// The coordinator starts its own executable to unpack, and here that is this program: `unpack`, a folder and a process
/// number are then taken for filters of tests, and this is the one that matches.
#[test]
fn this_program_can_unpack() {
    let args: Vec<_> = std::env::args().collect();
    let [_, .., folder, parent] = &args[..] else { return };
    let (true, Ok(parent)) = (folder.starts_with('/'), parent.parse()) else { return };
    // The harness leaves its line open.
    std::io::Write::write_all(&mut std::io::stdout(), b"\n").unwrap();
    coordinator::receive::unpack_here(std::path::Path::new(folder), parent).unwrap();
    std::process::exit(0);
}
