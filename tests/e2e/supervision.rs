//! What the daemons tell the service manager that started them.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tests::{Site, SiteOptions};

/// A service manager's end of it.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("the socket can be made");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket has a limit");
        Self { socket, told: Vec::new() }
    }

    /// Reads on until all of these were told, in any order, one as often as it stands there.
    fn hears(&mut self, expected: &[&str]) {
        let mut missing = expected.to_vec();
        while !missing.is_empty() {
            let mut buffer = [0; 500];
            let read = self.socket.recv(&mut buffer).unwrap_or_else(|_| panic!("no {missing:?} in {:?}", self.told));
            let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
            if let Some(found) = missing.iter().position(|wanted| *wanted == text) {
                missing.remove(found);
            }
            self.told.push(text);
        }
    }
}

#[test]
fn the_service_manager_hears_how_the_daemons_fare() {
    let folder = tempfile::tempdir().unwrap();
    let mut of_coordinator = Manager::listen(&folder.path().join("coordinator.notify"));
    let mut of_agent = Manager::listen(&folder.path().join("n1.notify"));
    let options = SiteOptions { folder: Some(folder.path().to_owned()), ..SiteOptions::default() };
    let mut site = Site::start_with(options);
    let beat = "WATCHDOG=1";
    of_coordinator.hears(&["READY=1", "STATUS=nothing to build; 0 of 0 agents connected", beat, beat, beat]);
    site.agent("n1");
    let address = site.cli.coordinator.clone();
    let status = |text: &str| format!("STATUS={text} the coordinator at {address}; nothing to build");
    of_agent.hears(&["READY=1", &status("waiting for"), &status("connected to"), beat, beat, beat]);
    of_coordinator.hears(&["STATUS=nothing to build; 1 of 1 agents connected", beat]);

    site.coordinator().signal(Signal::TERM);
    of_coordinator.hears(&["STOPPING=1"]);
    of_agent.hears(&[&status("waiting for"), beat, beat]);
    site.agent_daemon("n1").signal(Signal::TERM);
    of_agent.hears(&["STOPPING=1"]);
}
