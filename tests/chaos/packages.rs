//! The packages that the run builds from, and a small HTTP server for agents that don't see the install root.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

/// Kept between runs; each is named by what went into it.
const KEPT: &str = "/var/tmp/imgctl-fixtures";

/// What an osimage of the run lists.
pub(crate) const PKGLIST: &str = "linux-image-cloud-amd64\ndracut\ndracut-network\nisc-dhcp-client\niproute2\nprocps\n\
    nfs-common\nwget\nkmod\nudev\nmount\n";

/// Makes the repository, unless an earlier run has.
pub(crate) fn repository(codename: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("chaos/repository.sh");
    let made = Command::new(&script).args([KEPT, codename]).stderr(Stdio::inherit()).output().expect("bash is there");
    assert!(made.status.success(), "{} ended with {}", script.display(), made.status);
    PathBuf::from(String::from_utf8(made.stdout).expect("a path is text").trim())
}

/// Serves a folder; gives its URL. The threads end with the process.
pub(crate) fn serve(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let folder: Arc<Path> = folder.into();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let folder = folder.clone();
            // A client that goes away is none of our business.
            thread::spawn(move || drop(answer(&connection, &folder)));
        }
    });
    url
}

/// Answers one request after the other, as HTTP/1.1 has it.
fn answer(connection: &TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut requests = BufReader::new(connection.try_clone()?).lines();
    let mut out = connection;
    while let Some(request) = requests.next() {
        let request = request?;
        while requests.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let path = decoded(request.split(' ').nth(1).unwrap_or_default());
        let name = path.trim_start_matches(['/', '.']);
        match fs::read(folder.join(name)) {
            Ok(content) if !name.contains('/') => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len())?;
                out.write_all(&content)?;
            }
            _ => out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        }
    }
    Ok(())
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
