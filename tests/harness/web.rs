//! A folder over HTTP, as a mirror or a vendor serves it, for agents that don't see the install root.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How long a client may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server on a port of its own. Its threads end with the process.
#[derive(Debug)]
pub struct Web {
    address: SocketAddr,
}

impl Web {
    /// Serves what lies below `folder`, to this machine alone.
    pub fn serve(folder: &Path) -> Self {
        Self::serve_on("127.0.0.1:0", folder)
    }

    /// Serves it at an address of this machine.
    pub fn serve_on(address: &str, folder: &Path) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("it has an address");
        let folder = folder.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let folder = folder.clone();
                // A client that goes away is nothing to the test.
                thread::spawn(move || answer(&folder, stream).ok());
            }
        });
        Self { address }
    }

    /// The URL of something below the folder.
    pub fn url(&self, path: impl AsRef<Path>) -> String {
        format!("http://{}/{}", self.address, path.as_ref().display())
    }
}

/// Answers requests on one connection until it ends.
fn answer(folder: &Path, stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next().transpose()? {
        // The rest of the head says nothing that is needed.
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match file(folder, target) {
            Some(mut file) => {
                let length = file.metadata()?.len();
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
                if method == "GET" {
                    io::copy(&mut file, &mut out)?;
                }
            }
            None => write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        }
        out.flush()?;
    }
    Ok(())
}

/// A regular file below the folder, by the path of a request.
fn file(folder: &Path, target: &str) -> Option<File> {
    let path = PathBuf::from(decoded(target.trim_start_matches('/')));
    let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let path = folder.join(path);
    (plain && fs::metadata(&path).ok()?.is_file()).then(|| File::open(path).ok()).flatten()
}

/// apt writes `+` and `~` as `%2b` and `%7e`.
fn decoded(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        text.push(code.map_or('?', char::from));
        text.push_str(piece.get(2..).unwrap_or_default());
    }
    text
}
