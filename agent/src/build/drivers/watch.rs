//! [`Watch`]: one program that opens an image, under watch. A broken or hostile image may unpack to any size, so what
//! the program leaves in its folder is measured while it runs, and it is killed when that is more than the limit. So it
//! is when it takes too long, or when whoever hears what it says has heard enough.
//!
//! Called by all that unpacks here. Measures one folder, so each opening has a folder of its own.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::build::failure::StageError;
use crate::sys::exec::{Cmd, CmdError, Output};
use crate::sys::probe::human;
use crate::worker::report::StageLog;

/// Tells its process id, which a kill needs, and becomes the program. With no more than 2 GiB of memory: an image can make
/// a program ask for any amount.
const TELLS_ITS_ID: [&str; 3] = ["-c", "ulimit -v 2097152; echo $$; exec \"$@\"", "sh"];
/// How often the folder is measured: a disk writes some hundred megabytes in that time, which it has to spare.
const LOOK: Duration = Duration::from_millis(100);
/// How long one opening may take, with all its programs. The largest that may be opened takes a slow node one minute.
const LONGEST: Duration = Duration::from_secs(600);
/// What to do about a source that can't be opened within bounds.
const OUT_OF_BOUNDS: &str = "it is broken, or no driver disk; else unpack it, and name the folder with the few files that are \
     wanted (`dud:<folder>`)";

/// How much may come out of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

impl Limit {
    /// Of a disk or a package. The largest that vendors give away have some hundred megabytes.
    pub(super) const SOURCE: Self = Self { bytes: 1 << 30, entries: 50_000 };
    /// Of one module, which is also read into memory. With all its debug symbols one has 100 MB.
    pub(super) const MODULE: Self = Self { bytes: 256 << 20, entries: 10 };

    /// That `source` is too large.
    pub(super) fn error(self, source: &Path) -> StageError {
        let (size, entries) = (human(self.bytes), self.entries);
        StageError::build(
            format!("`{}` holds more than a driver's source may: {size} or {entries} files", source.display()),
            OUT_OF_BOUNDS,
        )
    }

    /// Refuses a file that is too large as it is.
    pub(super) fn of_file(self, path: &Path) -> Result<(), StageError> {
        let bytes = fs::metadata(path).map_err(StageError::file("look at", path))?.len();
        if bytes > self.bytes { Err(self.error(path)) } else { Ok(()) }
    }

    fn is_passed_in(self, folder: &Path) -> bool {
        let (mut bytes, mut entries) = (0_u64, 0);
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                entries += 1;
                // By its length: who copies a file with holes fills them.
                bytes = bytes.saturating_add(meta.len().max(meta.blocks() * 512));
                if bytes > self.bytes || entries > self.entries {
                    return true;
                }
                if meta.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        false
    }
}

/// One opening: of what, into which folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) source: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) limit: Limit,
    pub(super) log: &'a StageLog<'a>,
    pub(super) until: Instant,
}

impl<'a> Watch<'a> {
    /// An opening that begins now.
    pub(super) fn new(source: &'a Path, folder: &'a Path, limit: Limit, log: &'a StageLog<'a>) -> Self {
        Self { source, folder, limit, log, until: Instant::now() + LONGEST }
    }

    /// Runs a program that writes into the folder; its output goes to the log and comes back.
    pub(super) fn run(&self, program: &str, with: impl FnOnce(Cmd) -> Cmd) -> Result<Vec<String>, StageError> {
        let mut lines = Vec::new();
        self.hear(program, with, &mut |line| {
            self.log.say(line);
            // Enough to find a cause in.
            if lines.len() < 100 {
                lines.push(line.to_owned());
            }
            ControlFlow::Continue(())
        })?;
        Ok(lines)
    }

    /// The same with each line going to `hear` alone. Once that breaks off it hears no more and the program is killed,
    /// which is no error then.
    pub(super) fn hear(
        &self,
        program: &str,
        with: impl FnOnce(Cmd) -> Cmd,
        hear: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), StageError> {
        let bare = Cmd::new("sh").args(TELLS_ITS_ID);
        let cmd = with(bare.clone().arg(program));
        let line = cmd.line();
        self.log.say(format!("+{}", line.strip_prefix(&bare.line()).unwrap_or(&line)));
        let id = Mutex::new(None);
        let mut first_lines: Vec<String> = Vec::new();
        let mut enough = false;
        let ended = thread::scope(|scope| {
            let (tell, told) = channel::<()>();
            scope.spawn(|| self.kill_in_time(&id, told));
            let ended = cmd.run(&mut |output| match output {
                Output::Bytes => self.log.moves(),
                Output::Line(_) if enough => {}
                Output::Line(line) => {
                    // Let go before the line is told, which may take long.
                    if let id @ None = &mut *id.lock().unwrap_or_else(PoisonError::into_inner) {
                        *id = line.parse().ok().and_then(Pid::from_raw);
                        return;
                    }
                    if first_lines.len() < 100 {
                        first_lines.push(line.to_owned());
                    }
                    enough = hear(line).is_break();
                    if enough {
                        // Nobody listens if the thread panicked, which the scope passes on.
                        let _ = tell.send(());
                    }
                }
            });
            drop(tell);
            ended
        });
        if self.limit.is_passed_in(self.folder) {
            return Err(self.limit.error(self.source));
        }
        if enough {
            return Ok(());
        }
        if self.is_late() {
            return Err(self.late());
        }
        ended.map(|_| ()).map_err(|error| self.failed(program, error, &first_lines))
    }

    /// Until the other end of `told` is gone; whatever comes from there says that the program is to end.
    fn kill_in_time(&self, id: &Mutex<Option<Pid>>, told: Receiver<()>) {
        loop {
            let enough = match told.recv_timeout(LOOK) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let id = *id.lock().unwrap_or_else(PoisonError::into_inner);
            let is_to_end = || enough || self.is_late() || self.limit.is_passed_in(self.folder);
            if let Some(id) = id.filter(|_| is_to_end()) {
                // It may have ended by itself a moment ago.
                let _ = kill_process(id, Signal::KILL);
            }
        }
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    fn late(&self) -> StageError {
        let (source, minutes) = (self.source.display(), LONGEST.as_secs() / 60);
        StageError::build(format!("opening `{source}` takes longer than {minutes} minutes"), OUT_OF_BOUNDS)
    }

    fn failed(&self, program: &str, error: CmdError, lines: &[String]) -> StageError {
        let CmdError::Failed { status, .. } = &error else { return error.into() };
        let how = error.to_string().replace("`sh`", &format!("`{program}`"));
        if let Some(full) = lines.iter().find(|line| line.contains("No space left on device")) {
            let hint = "clear the disk, or set `scratch` in agent.toml to a larger one";
            return StageError::node(format!("cannot unpack `{}`: {full}", self.source.display()), hint);
        }
        if status.signal().is_some() {
            let cause = format!("cannot unpack `{}`: {how}", self.source.display());
            return StageError::node(cause, "look in the node's kernel log (`dmesg`) for what killed it");
        }
        self.damaged(&cause(lines).map_or_else(|| how.clone(), |line| format!("{how}: {line}")))
    }

    /// That the source can't be read as what it seems to be.
    pub(super) fn damaged(&self, why: &str) -> StageError {
        let source = self.source.display();
        StageError::build(
            format!("`{source}` is damaged or can't be read: {why}"),
            format!(
                "compare it with where it came from and copy it again, or take it out of driverupdatesrc: `{source}`"
            ),
        )
    }
}

/// The line that says why: xorriso marks it, of the others it is the first.
fn cause(lines: &[String]) -> Option<&str> {
    let lines = || lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    let marked = lines().find(|line| line.contains("FAILURE"));
    marked.or_else(|| lines().find(|line| !line.contains("Removing leading")))
}

#[cfg(test)]
mod tests {
    use model::stage::Stage;

    use super::*;
    use crate::worker::report::{Blame, Reporter};

    #[test]
    fn a_program_that_writes_too_much_is_killed_while_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let reporter = Reporter::new(std::io::sink());
        let log = StageLog::new(Stage::Configure, &reporter);
        let limit = Limit { bytes: 1 << 20, entries: 10 };
        let watch = Watch::new(Path::new("/install/a.iso"), dir.path(), limit, &log);
        let to = format!("of={}", dir.path().join("a").display());
        let error = watch.run("dd", |cmd| cmd.args(["if=/dev/zero", "bs=1M", "count=4000", &to])).unwrap_err();
        assert!(error.cause.contains("`/install/a.iso` holds more"), "{error}");
        let written = fs::metadata(dir.path().join("a")).unwrap().len();
        assert!(written < 3000 << 20, "{written}");
        let dir = tempfile::tempdir().unwrap();
        let error = Watch { folder: dir.path(), ..watch }
            .run("mkdir", |cmd| (0..11).fold(cmd, |cmd, number| cmd.arg(dir.path().join(number.to_string()))));
        assert!(error.unwrap_err().cause.contains("or 10 files"));
    }

    #[test]
    fn a_program_gets_so_much_memory_and_who_killed_it_is_not_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let reporter = Reporter::new(std::io::sink());
        let log = StageLog::new(Stage::Configure, &reporter);
        let watch = Watch::new(Path::new("/install/a.iso"), dir.path(), Limit::SOURCE, &log);
        let error = watch.run("dd", |cmd| cmd.args(["if=/dev/zero", "of=/dev/null", "bs=3G", "count=1"])).unwrap_err();
        assert!(
            error.cause.contains("`/install/a.iso` is damaged or can't be read: `dd` ended with status 1"),
            "{error}"
        );
        let error = watch.run("sh", |cmd| cmd.args(["-c", "kill -9 $$"])).unwrap_err();
        assert!(error.cause.contains("`sh` ended with signal 9") && error.blame == Blame::Node, "{error}");
    }

    #[test]
    fn a_program_that_would_not_end_is_killed_when_enough_was_heard_or_its_time_is_up() {
        let dir = tempfile::tempdir().unwrap();
        let reporter = Reporter::new(std::io::sink());
        let log = StageLog::new(Stage::Configure, &reporter);
        let watch = Watch::new(Path::new("/install/a.iso"), dir.path(), Limit::SOURCE, &log);
        let mut heard = Vec::new();
        let done = watch.hear("yes", |cmd| cmd, &mut |line| {
            heard.push(line.to_owned());
            if heard.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(done.is_ok() && heard == ["y"; 3], "{done:?}");
        let late = Watch { until: Instant::now() + Duration::from_millis(300), ..watch };
        for (program, args) in [("sleep", &["600"][..]), ("yes", &[])] {
            let error = late.hear(program, |cmd| cmd.args(args), &mut |_| ControlFlow::Continue(())).unwrap_err();
            assert_eq!(error.cause, "opening `/install/a.iso` takes longer than 10 minutes");
            assert_eq!(error.blame, Blame::Build);
        }
    }
}
