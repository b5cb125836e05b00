//! A TCP proxy in front of the coordinator: the network of one agent, or of the users, that can break.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How often a pump looks whether the network has changed.
const LOOK: Duration = Duration::from_millis(20);

/// What a slow network takes for each piece.
const SLOW: Duration = Duration::from_millis(150);

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything passes.
    Fair,
    /// Connections are closed, and new ones as soon as they are made.
    Cut,
    /// Connections stand and nothing passes.
    Stalled,
    /// Everything passes, late.
    Slow,
}

#[derive(Debug)]
struct Sky {
    weather: Weather,
    connections: Vec<TcpStream>,
}

/// A running proxy. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: String,
    sky: Arc<Mutex<Sky>>,
}

impl Proxy {
    /// A proxy to `target` on a port of its own.
    pub(crate) fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let sky = Arc::new(Mutex::new(Sky { weather: Weather::Fair, connections: Vec::new() }));
        let (target, above) = (target.to_owned(), sky.clone());
        thread::spawn(move || {
            for accepted in listener.incoming().flatten() {
                connect(accepted, &target, &above);
            }
        });
        Self { address, sky }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Changes the network.
    pub(crate) fn set(&self, weather: Weather) {
        let mut sky = self.sky.lock().expect("no pump panics");
        sky.weather = weather;
        if weather == Weather::Cut {
            for connection in sky.connections.drain(..) {
                // It may be closed already.
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }
}

fn connect(from: TcpStream, target: &str, sky: &Arc<Mutex<Sky>>) {
    // A coordinator that is down refuses, and so do we, by closing what was accepted.
    let Ok(to) = TcpStream::connect(target) else { return };
    let mut above = sky.lock().expect("no pump panics");
    if above.weather == Weather::Cut {
        return;
    }
    for (reader, writer) in [(&from, &to), (&to, &from)] {
        let (Ok(reader), Ok(writer)) = (reader.try_clone(), writer.try_clone()) else { return };
        let sky = sky.clone();
        thread::spawn(move || pump(reader, writer, &sky));
    }
    above.connections.retain(|connection| connection.peer_addr().is_ok());
    above.connections.extend([from, to]);
}

/// Carries one direction until either side closes.
fn pump(mut from: TcpStream, mut to: TcpStream, sky: &Mutex<Sky>) {
    let mut buffer = vec![0; 64 << 10];
    let weather = || sky.lock().expect("no pump panics").weather;
    // Without it the pump would sleep in a read through every change.
    from.set_read_timeout(Some(LOOK)).expect("the time is not nothing");
    loop {
        if weather() == Weather::Stalled {
            thread::sleep(LOOK);
            continue;
        }
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        while weather() == Weather::Stalled {
            thread::sleep(LOOK);
        }
        if weather() == Weather::Slow {
            thread::sleep(SLOW);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other pump hears of it by its own read.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
