//! Commands run in a guest, by the agent that QEMU has for it (qemu-guest-agent): over a port of the machine, not over
//! its network, which may be cut.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// How long the agent may take for one answer; an emulated machine may be busy.
const ANSWER: Duration = Duration::from_secs(20);

/// Between two looks at a command.
const LOOK: Duration = Duration::from_millis(250);

/// Connections of this process so far, to tell an answer of this one from an answer to an earlier one.
static TALKS: AtomicU32 = AtomicU32::new(1);

/// What a command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Exit code; 128 and its number for a signal.
    pub code: i64,
    /// Standard output, then standard error.
    pub text: String,
}

/// The port.
#[derive(Debug, Clone)]
pub(super) struct Qga {
    socket: PathBuf,
}

impl Qga {
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Whether the agent answers.
    pub(super) fn is_there(&self) -> bool {
        Talk::open(&self.socket).is_ok()
    }

    /// Runs a script by `sh`; `None` when the guest doesn't answer, or the command hasn't ended by the deadline.
    pub(super) fn run(&self, script: &str, deadline: Instant) -> Option<Answer> {
        let order = json!({"path": "/bin/sh", "arg": ["-c", script], "capture-output": true});
        let mut talk = self.talk(deadline)?;
        // Asked only once: it may be carried out though the answer is lost.
        let pid = talk.ask("guest-exec", order).ok()?["pid"].as_i64()?;
        while Instant::now() < deadline {
            let status = match talk.ask("guest-exec-status", json!({"pid": pid})) {
                Ok(status) => status,
                Err(_) => {
                    talk = self.talk(deadline)?;
                    continue;
                }
            };
            if status["exited"] == json!(true) {
                return Some(answer(&status));
            }
            std::thread::sleep(LOOK);
        }
        None
    }

    fn talk(&self, deadline: Instant) -> Option<Talk> {
        while Instant::now() < deadline {
            match Talk::open(&self.socket) {
                Ok(talk) => return Some(talk),
                Err(_) => std::thread::sleep(LOOK),
            }
        }
        None
    }
}

fn answer(status: &Value) -> Answer {
    let part = |name: &str| {
        let bytes = BASE64_STANDARD.decode(status[name].as_str().unwrap_or_default()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let signal = status["signal"].as_i64().map(|signal| 128 + signal);
    Answer { code: status["exitcode"].as_i64().or(signal).unwrap_or(-1), text: part("out-data") + &part("err-data") }
}

/// One connection; the port takes one at a time.
struct Talk {
    out: UnixStream,
    lines: io::Lines<BufReader<UnixStream>>,
}

impl Talk {
    /// Connects, and passes over what an earlier connection left.
    fn open(socket: &Path) -> io::Result<Self> {
        let out = UnixStream::connect(socket)?;
        out.set_read_timeout(Some(ANSWER))?;
        out.set_write_timeout(Some(ANSWER))?;
        let lines = BufReader::new(out.try_clone()?).lines();
        let mut talk = Self { out, lines };
        let mark = TALKS.fetch_add(1, Ordering::Relaxed);
        talk.send("guest-sync", json!({"id": mark}))?;
        while talk.receive()?["return"] != json!(mark) {}
        Ok(talk)
    }

    fn ask(&mut self, what: &str, arguments: Value) -> io::Result<Value> {
        self.send(what, arguments)?;
        let answer = self.receive()?;
        match answer.get("return") {
            Some(value) => Ok(value.clone()),
            None => Err(io::Error::other(format!("{what}: {answer}"))),
        }
    }

    fn send(&mut self, what: &str, arguments: Value) -> io::Result<()> {
        writeln!(self.out, "{}", json!({"execute": what, "arguments": arguments}))
    }

    fn receive(&mut self) -> io::Result<Value> {
        let line = self.lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}
