//! The packaged units where systemd is PID 1: the coordinator's and the agent's, an upgrade, and a daemon that hangs.

use std::time::Duration;

use tests::eventually;
use tests::lab::Node;

use crate::stages::{Lab, SHORT};

/// `WatchdogSec`, then `TimeoutStopSec` for a process that can't even abort, then a start.
const WATCHDOG: Duration = Duration::from_secs(300);

/// A second coordinator, on the ppc64le node, apart from the site's.
pub(crate) fn units(lab: &mut Lab) {
    let (node, mn) = lab.ppc64le();
    let run = |script: &str| node.guest.ok(&format!("export HOME=/root; cd /root/packages; {script}"), SHORT);
    run("dpkg -i imgctl_*.deb imgctl-coordinator_*.deb");
    run("test -e /etc/imgctl/coordinator.toml || \
         imgctl-coordinator init --install-dir /srv/install --listen 127.0.0.1:7443 --name 127.0.0.1");
    run("systemctl start imgctl-coordinator && systemctl is-active imgctl-coordinator");
    run("imgctl agents list && imgctl agents token");
    println!("  {}", run("systemd-analyze security --no-pager imgctl-coordinator | tail -n 1").trim());
    println!("  {}", run("systemd-analyze security --no-pager imgctl-agent | tail -n 1").trim());

    for name in ["imgctl-coordinator", "imgctl-agent"] {
        let before = shows(node, name, "MainPID");
        run(&format!("dpkg -i {name}_*.deb && systemctl is-active {name}"));
        assert_ne!(shows(node, name, "MainPID"), before, "an upgrade restarts {name}");
        let restarts: u32 = shows(node, name, "NRestarts").parse().expect("a number");
        run(&format!("systemctl kill --signal=STOP {name}"));
        eventually(&format!("the watchdog to start {name} again"), WATCHDOG, || {
            std::thread::sleep(Duration::from_secs(2));
            let again: u32 = shows(node, name, "NRestarts").parse().ok()?;
            (again > restarts && shows(node, name, "ActiveState") == "active").then_some(())
        });
        println!("  {name}: restarted by an upgrade, and by the watchdog");
    }
    run("imgctl agents list");
    run("dpkg -r imgctl-coordinator imgctl");
    node.is_connected(mn);
}

fn shows(node: &Node, unit: &str, property: &str) -> String {
    node.guest.ok(&format!("systemctl show --value --property={property} {unit}"), SHORT).trim().to_owned()
}
