//! Lays the medium into an install root: something to build images of without having Enterprise Linux at hand.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use tests::el9::medium_of;

fn main() -> ExitCode {
    let Some(install) = env::args_os().nth(1).map(PathBuf::from).filter(|path| path.is_absolute()) else {
        eprintln!("usage: medium INSTALL_ROOT [ARCH]");
        eprintln!(
            "INSTALL_ROOT is an absolute path such as /install, ARCH x86_64 or ppc64le, if not this machine's own"
        );
        return ExitCode::from(2);
    };
    let arch = env::args().nth(2).unwrap_or_else(|| tests::arch().to_owned());
    let medium = medium_of(&arch);
    medium.copy_into(&install);
    // Where xCAT and imgctl look for a profile's list.
    let lists = install.join("custom/netboot/rh");
    let list = lists.join(medium.stock_list().file_name().expect("a file has a name"));
    // One that is there may have been edited.
    if !list.exists() {
        let copied = fs::create_dir_all(&lists).and_then(|()| fs::copy(medium.stock_list(), &list));
        copied.unwrap_or_else(|error| panic!("cannot write {}: {error}", list.display()));
    }
    println!("medium:    {}", install.join(medium.tree()).display());
    println!("otherpkgs: {}", install.join(medium.otherpkgs()).display());
    println!("pkglist:   {}", list.display());
    ExitCode::SUCCESS
}
