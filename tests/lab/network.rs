//! The nodes' own network: a bridge that the management node is on, and a tap for each guest. There is no way out of it.

use std::process::Command;

/// The management node's address.
pub const MN: &str = "192.168.61.1";

const BRIDGE: &str = "br0";

/// See the module. It goes with its network namespace.
#[derive(Debug)]
pub struct Network;

impl Network {
    /// Makes it in this process's network namespace, which must be one of its own.
    pub fn start() -> Self {
        ip("link set lo up");
        ip(&format!("link add {BRIDGE} type bridge"));
        ip(&format!("address add {MN}/24 dev {BRIDGE}"));
        ip(&format!("link set {BRIDGE} up"));
        Self
    }

    /// A card for the node with this number; gives its name.
    pub fn tap(&self, number: u8) -> String {
        let name = format!("tap{number}");
        ip(&format!("tuntap add {name} mode tap"));
        ip(&format!("link set {name} master {BRIDGE} up"));
        name
    }

    /// Takes the cable out behind the card: its owner still sees a link, and nothing comes or goes.
    pub fn cut(&self, tap: &str) {
        ip(&format!("link set {tap} nomaster"));
    }

    /// Puts it back.
    pub fn mend(&self, tap: &str) {
        ip(&format!("link set {tap} master {BRIDGE}"));
    }
}

/// The address of the node with this number.
pub fn address(number: u8) -> String {
    format!("192.168.61.{}", 10 + number)
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("there is an ip");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}
