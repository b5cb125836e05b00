//! The .rpms in the distribution like Enterprise Linux that `tests/el9` makes.

use super::made::{NEXT, packages, version};
use super::root::{Root, is_installed, is_kept, is_removed, is_used};
use super::{dnf, root::state_is_kept};

const NAMES: [&str; 3] = ["imgctl", "imgctl-agent", "imgctl-coordinator"];

#[test]
fn rpms_are_installed_upgraded_and_removed() {
    let installing = dnf::Root::new();
    installing.dnf(&["install", "bash", "coreutils", "systemd", "util-linux"]).done();
    let files = |version| NAMES.map(|name| packages().rpm(name, version).display().to_string());
    let dnf = |verb: &str, arguments: &[String]| {
        let arguments = arguments.iter().map(String::as_str);
        installing.dnf(&[verb].into_iter().chain(arguments).collect::<Vec<_>>()).done()
    };
    let root = Root(installing.path());
    dnf("install", &files(version()));
    is_installed(&root);
    NAMES.iter().for_each(|name| assert_eq!(installing.rpm(&["--verify", name]).done(), ""));

    is_used(&root);
    dnf("upgrade", &files(NEXT));
    assert_eq!(installing.rpm(&["-q", "--queryformat", "%{version}", "imgctl-agent"]).done(), NEXT);
    is_kept(&root);

    dnf("remove", &NAMES.map(str::to_owned));
    is_removed(&root);
    // rpm keeps an edited file under a name of its own.
    assert!(root.text("/etc/imgctl/agent.toml.rpmsave").ends_with("\nslots = 2\n"));
    state_is_kept(&root);
}
