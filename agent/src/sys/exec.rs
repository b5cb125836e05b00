//! [`Cmd`]: how we run anything. Cleared environment, explicit search path and locale, no input, both outputs as
//! one stream of lines in the order in which they were written.
//!
//! Called in the worker, whose process namespace ends with it, so nothing here has to hunt children down.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::stream::stream;

/// Where programs are looked for; the same in the node and in every image.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How many of its last lines a command keeps, for finding the cause of its failure.
const KEPT_LINES: usize = 400;

/// A command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CmdError {
    /// It could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Its output could not be read or its end not awaited.
    #[error("lost touch with `{program}`")]
    Lost {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended badly.
    #[error("`{program}` ended with {}", said(status))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        lines: Vec<String>,
    },
}

impl CmdError {
    /// The last lines of output, if it came so far.
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Failed { lines, .. } => lines,
            Self::Start { .. } | Self::Lost { .. } => &[],
        }
    }

    /// Whether it was ended by a signal, which tells nothing of what it would have done.
    pub fn was_killed(&self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        matches!(self, Self::Failed { status, .. } if status.signal().is_some())
    }
}

fn said(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(9)) => "signal 9 (killed: often the node ran out of memory)".to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// What comes from a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output<'a> {
    /// Bytes, which may be lines or become some; told before those.
    Bytes,
    /// A line of them.
    Line(&'a str),
}

/// A program with its arguments and all of its environment.
#[derive(Debug, Clone)]
pub struct Cmd {
    program: OsString,
    /// How errors call it, where that is not the program's own name (`chroot`).
    known_as: String,
    args: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: Option<PathBuf>,
}

impl Cmd {
    /// A program of the node.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref().to_owned();
        let environment = [("PATH", SEARCH_PATH), ("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("HOME", "/root")];
        Self {
            known_as: program.to_string_lossy().into_owned(),
            program,
            args: Vec::new(),
            environment: environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            directory: None,
        }
    }

    /// A program of the image at `root`, run inside it.
    pub fn in_root(root: &Path, program: &str) -> Self {
        Self { known_as: program.to_owned(), ..Self::new("chroot").arg(root).arg(program) }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One variable; a later one of the same name wins.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// More variables.
    #[must_use]
    pub fn envs<'a>(self, pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        pairs.into_iter().fold(self, |cmd, (name, value)| cmd.env(name, value))
    }

    /// The working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The command line, for the log.
    pub fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }

    /// Runs it to its end; its output goes to `each` as it comes. Gives back the last lines.
    pub fn run(&self, each: &mut dyn FnMut(Output<'_>)) -> Result<Vec<String>, CmdError> {
        let lost = |source| CmdError::Lost { program: self.known_as.clone(), source };
        let (mut reader, writer) = io::pipe().map_err(lost)?;
        let mut command = self.command();
        command.stdout(writer.try_clone().map_err(lost)?).stderr(writer);
        let child = command.spawn();
        // The command holds the writing ends; while it lives, the reader would never see the end.
        drop(command);
        let mut child = child.map_err(|source| CmdError::Start { program: self.known_as.clone(), source })?;
        let mut kept = VecDeque::with_capacity(KEPT_LINES);
        let read = stream(&mut reader, &mut child, &mut |line| {
            let Some(line) = line else { return each(Output::Bytes) };
            each(Output::Line(&line));
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        });
        let whole = read.map_err(lost)?;
        let status = child.wait().map_err(lost)?;
        if !whole {
            let said =
                format!("(`{}` left a process behind that holds its output; it is not waited for)", self.known_as);
            each(Output::Line(&said));
        }
        self.judge(status, kept.into())
    }

    /// Runs it quietly and gives what it wrote to its standard output.
    pub fn capture(&self) -> Result<Vec<u8>, CmdError> {
        let output = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.map_err(|source| CmdError::Start { program: self.known_as.clone(), source })?;
        let words = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
        self.judge(output.status, words).map(|_| output.stdout)
    }

    fn judge(&self, status: ExitStatus, lines: Vec<String>) -> Result<Vec<String>, CmdError> {
        if status.success() {
            Ok(lines)
        } else {
            Err(CmdError::Failed { program: self.known_as.clone(), status, lines })
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.environment).stdin(Stdio::null());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn output_comes_line_by_line_and_the_environment_is_ours() {
        let mut seen = Vec::new();
        let cmd = Cmd::new("sh").arg("-c").arg("echo out; echo err >&2; env | sort").env("MINE", "1");
        let mut bytes = 0;
        cmd.run(&mut |output| match output {
            Output::Bytes => bytes += 1,
            Output::Line(line) => seen.push(line.to_owned()),
        })
        .unwrap();
        assert!(bytes > 0);
        assert_eq!(seen[..2], ["out", "err"]);
        let names: Vec<_> = seen[2..].iter().filter_map(|line| line.split('=').next()).collect();
        assert_eq!(names, ["HOME", "LANG", "LC_ALL", "MINE", "PATH", "PWD"]);
    }

    #[test]
    fn a_dot_is_heard_before_its_line_ends() {
        let folder = tempfile::tempdir().unwrap();
        let heard = folder.path().join("heard");
        // It ends only when its dot was heard.
        let script = "printf .; until test -e \"$1\"; do sleep 0.01; done";
        let mut lines = Vec::new();
        let cmd = Cmd::new("sh").args(["-c", script, "sh"]).arg(&heard);
        cmd.run(&mut |output| match output {
            Output::Bytes => std::fs::write(&heard, "").unwrap(),
            Output::Line(line) => lines.push(line.to_owned()),
        })
        .unwrap();
        assert_eq!(lines, ["."]);
    }

    #[test]
    fn a_process_that_a_command_left_behind_is_not_waited_for() {
        let began = Instant::now();
        let mut seen = Vec::new();
        let cmd = Cmd::new("sh").args(["-c", "sleep 60 & echo started; echo $!"]);
        let last = cmd.run(&mut |output| {
            if let Output::Line(line) = output {
                seen.push(line.to_owned());
            }
        });
        let pid = last.unwrap().pop().unwrap();
        Cmd::new("kill").arg(&pid).run(&mut |_| {}).unwrap();
        assert!(began.elapsed() < Duration::from_secs(30));
        assert!(seen[0] == "started" && seen[2].contains("`sh` left a process behind"), "{seen:?}");
    }

    #[test]
    fn what_a_command_wrote_before_its_end_is_read_however_slowly() {
        let mut readings = 0;
        let mut seen = Vec::new();
        let error = Cmd::new("sh").args(["-c", "seq 1 8000; exit 3"]).run(&mut |output| match output {
            Output::Bytes => {
                readings += 1;
                // At the second one the command has ended.
                std::thread::sleep(Duration::from_millis([0, 1000, 3000].get(readings).copied().unwrap_or(0)));
            }
            Output::Line(line) => seen.push(line.to_owned()),
        });
        assert_eq!((seen.len(), seen.last().map(String::as_str)), (8000, Some("8000")));
        assert_eq!(error.unwrap_err().lines().last().map(String::as_str), Some("8000"));
    }

    #[test]
    fn a_failure_keeps_its_last_lines_and_says_how_it_ended() {
        let error = Cmd::new("sh").args(["-c", "seq 1 500; exit 3"]).run(&mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "`sh` ended with status 3");
        assert_eq!((error.lines().len(), error.lines()[399].as_str()), (400, "500"));
        let missing = Cmd::new("/no/such/program").run(&mut |_| {}).unwrap_err();
        assert!(matches!(missing, CmdError::Start { .. }), "{missing}");
    }

    #[test]
    fn the_command_line_can_be_pasted_into_a_shell() {
        let cmd = Cmd::new("apt-get").args(["install", "a b", "it's", ""]);
        assert_eq!(cmd.line(), r"apt-get install 'a b' 'it'\''s' ''");
    }
}
