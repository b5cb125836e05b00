//! One run of `imgctl`, with its output in files, so that it can go on beside everything else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tests::{Cli, Ran};

/// A running `imgctl`.
#[derive(Debug)]
pub(crate) struct Call {
    child: Child,
    files: [PathBuf; 2],
    /// Its arguments.
    pub(crate) words: String,
}

impl Call {
    /// Starts it; `name` is that of its output's files in `folder`.
    pub(crate) fn start(cli: &Cli, words: &str, folder: &Path, name: &str) -> Self {
        let files = ["out", "err"].map(|end| folder.join(format!("{name}.{end}")));
        let [out, err] = files.each_ref().map(|path| File::create(path).expect("a file"));
        let mut command = cli.command(&words.split_whitespace().collect::<Vec<_>>());
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("imgctl can be started");
        Self { child, files, words: words.to_owned() }
    }

    /// What it left, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<Ran> {
        let status = self.child.try_wait().expect("the child is ours")?;
        let [out, err] = self.files.each_ref().map(|path| {
            let bytes = fs::read(path).expect("its output is kept");
            // Gone, so that a long run doesn't fill the disk.
            fs::remove_file(path).expect("it is ours");
            String::from_utf8(bytes).expect("imgctl writes UTF-8")
        });
        Some(Ran { code: status.code().unwrap_or(-1), out, err })
    }

    /// Waits for it, and kills it when it takes longer than `limit`.
    pub(crate) fn wait(mut self, limit: Duration) -> Option<Ran> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(ran) = self.ended() {
                return Some(ran);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        None
    }

    /// Ends it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }
}
