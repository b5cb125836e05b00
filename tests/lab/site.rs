//! `make lab-site`: two nodes with nothing but a release's packages on them, to follow docs/INSTALL.md on. `mn` has a kernel's
//! NFS server; `p9-01` is ppc64le. Packages for images are at `http://mirror/x86_64` and `http://mirror/ppc64le`.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tests::Web;
use tests::lab::{AgentFrom, MN, Mounts, Network, Node, NodeOptions, address, disk, run_in};

use crate::ARCHES;
use crate::state::State;

/// How long an emulated machine may take to boot.
const BOOT: Duration = Duration::from_secs(400);

/// How long a command on one may take.
const LONG: Duration = Duration::from_secs(60 * 60);

const NAMES: [&str; 2] = ["mn", "p9-01"];

/// Boots them and keeps them until somebody closes standard input.
pub(crate) fn open(state: &State) {
    let network = Network::start();
    Web::serve_on(&format!("{MN}:80"), &state.folder().join("install/packages"));
    let hosts = format!("{MN} mirror\n{} {}\n{} {}\n", address(1), NAMES[0], address(2), NAMES[1]);
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist-packages");
    let mut nodes: Vec<Node> = (1..)
        .zip(NAMES.iter().zip(ARCHES))
        .map(|(number, (name, arch))| {
            let (agent, hosts) = (AgentFrom::Packages(packages.clone()), hosts.clone());
            let options = NodeOptions {
                name,
                number,
                memory: 2048,
                cpus: 1,
                agent,
                mounts: Mounts::Agent,
                config: String::new(),
                hosts,
            };
            let mut node = Node::new(&network, state.folder(), &disk(arch), &options);
            node.guest.switch_on();
            node
        })
        .collect();
    for node in &mut nodes {
        node.guest.is_up(BOOT);
        // The lab's nodes don't need it; this one's server does.
        node.guest.ok("systemctl unmask rpcbind.service rpcbind.socket && systemctl daemon-reload", BOOT);
    }
    println!("both nodes are up; packages of the release are in /root/packages on each");
    println!("run a command on one: {} on mn|p9-01 'COMMAND'", std::env::args().next().unwrap_or_default());
    println!("they end with this program: press Enter");
    let _ = io::stdin().read(&mut [0]);
}

/// `lab on NODE 'COMMAND'`: runs it by a shell as root, and ends as it ends.
pub(crate) fn on(folder: &Path, arguments: &[String]) -> ExitCode {
    let [node, command] = arguments else {
        eprintln!("usage: lab on NODE 'COMMAND'");
        return ExitCode::from(2);
    };
    let script = format!("export HOME=/root; cd /root/packages; {command}");
    let Some(answer) = run_in(&folder.join(node), &script, LONG) else {
        eprintln!("{node} gives no answer");
        return ExitCode::FAILURE;
    };
    print!("{}", answer.text);
    ExitCode::from(u8::try_from(answer.code).unwrap_or(1))
}
