//! What the daemons tell the service manager that started them, as sd_notify(3) describes it: that they are ready, what
//! they are doing, that they are alive, that they are stopping.
//!
//! [`ServiceManager`] is where it is told, [`Pulse`] what one task has told it so far. A daemon that was started by hand has
//! nobody to tell, and all of it does nothing.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::Instant;

/// The service manager, as it named itself to this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceManager {
    socket: Option<OsString>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// From the variables of a daemon's environment; `pid` is the daemon's own.
    pub fn from_environment(pid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|watched| watched == u64::from(pid));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0).map(Duration::from_micros);
        Self { socket: variable("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()), watchdog }
    }

    /// The daemon does its work from now on.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    fn tell(&self, text: &str) {
        // A manager that can't be told finds out by itself how the daemon fares, and the daemon does its work without it.
        let _ = self.send(text);
    }

    fn send(&self, text: &str) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(socket)?,
        };
        let datagram = UnixDatagram::unbound()?;
        // A manager that doesn't listen must not hold up the task that is to be seen alive.
        datagram.set_nonblocking(true)?;
        datagram.send_to_addr(text.as_bytes(), &address).map(drop)
    }
}

/// What one task of the daemon tells: the one whose hang would be a hang of the daemon. Only that task may call
/// [`Pulse::beat`].
#[derive(Debug)]
pub struct Pulse {
    manager: ServiceManager,
    status: String,
    last: Option<Instant>,
}

impl Pulse {
    /// Nothing told yet.
    pub fn new(manager: ServiceManager) -> Self {
        Self { manager, status: String::new(), last: None }
    }

    /// As [`ServiceManager::ready`].
    pub fn ready(&self) {
        self.manager.ready();
    }

    /// What the daemon is doing, in a sentence; told when it changes.
    pub fn status(&mut self, status: String) {
        if status != self.status {
            // It is the end of the line that ends a message.
            self.manager.tell(&format!("STATUS={}", status.replace('\n', " ")));
            self.status = status;
        }
    }

    /// Returns when it is time for the next [`Pulse::beat`]; never where no watchdog waits for one.
    pub async fn due(&self) {
        match (self.next(), self.manager.watchdog) {
            (Some(next), _) => tokio::time::sleep_until(next).await,
            (None, Some(_)) => {}
            (None, None) => std::future::pending().await,
        }
    }

    /// The task is alive; told twice in the time after which the watchdog would take it for dead.
    pub fn beat(&mut self) {
        let now = Instant::now();
        if self.manager.watchdog.is_some() && self.next().is_none_or(|next| next <= now) {
            self.manager.tell("WATCHDOG=1");
            self.last = Some(now);
        }
    }

    /// The daemon has begun to stop.
    pub fn stopping(&mut self) {
        self.manager.tell("STOPPING=1");
        self.status("stopping".to_owned());
    }

    fn next(&self) -> Option<Instant> {
        Some(self.last? + self.manager.watchdog? / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> ServiceManager {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        ServiceManager::from_environment(7, find)
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 200];
        let next = || socket.recv(&mut buffer).ok().map(|read| String::from_utf8_lossy(&buffer[..read]).into_owned());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_watchdog_for_another_process_is_none() {
        let watchdog = |pid| manager(&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", pid)]).watchdog;
        assert_eq!((watchdog("7"), watchdog("8")), (Some(Duration::from_secs(3)), None));
        assert_eq!(manager(&[("WATCHDOG_USEC", "0"), ("NOTIFY_SOCKET", "")]), ServiceManager::default());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_twice_a_period_and_a_status_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut pulse =
            Pulse::new(manager(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "10000000")]));
        let began = Instant::now();
        pulse.ready();
        for _ in 0..3 {
            pulse.due().await;
            pulse.status("building 1\nand no more".to_owned());
            pulse.beat();
            pulse.beat();
        }
        assert_eq!(began.elapsed().as_secs(), 10);
        pulse.stopping();
        let told = heard(&socket);
        let beat = "WATCHDOG=1";
        let expected = ["READY=1", "STATUS=building 1 and no more", beat, beat, beat, "STOPPING=1", "STATUS=stopping"];
        assert_eq!(told, expected);
    }

    #[test]
    fn an_abstract_socket_is_heard_on() {
        let name = format!("imgctl-supervision-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        manager(&[("NOTIFY_SOCKET", &format!("@{name}"))]).ready();
        assert_eq!(heard(&socket), ["READY=1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_where_nobody_waits() {
        let mut pulse = Pulse::new(ServiceManager::default());
        pulse.ready();
        pulse.beat();
        assert!(tokio::time::timeout(Duration::from_secs(3600), pulse.due()).await.is_err());
    }
}
