//! The output of a running command, line by line, and for how long it is awaited once the command has ended.
//!
//! Called by [`super::exec`]. Kills nothing: what a command leaves behind ends with the worker's namespace.

use std::io::{self, PipeReader, Read};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::lines::LineSplitter;

/// How long a pipe may be silent, and still open, when its command has ended.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// How long what a command left behind is listened to if it talks on.
const TALKS_ON: Duration = Duration::from_secs(30);

/// More than a pipe holds, whatever the kernel's page size: who wrote this much since its command's end is alive.
const PIPE: usize = 1 << 20;

/// How often it is looked whether a command that says nothing has ended.
const LOOK: Duration = Duration::from_millis(200);

/// Every line goes to `each`, and `None` before those of each reading. The end of the output is awaited, but not for
/// ever once the child has ended: what it left behind may hold the pipe. False: it does.
pub(super) fn stream(
    reader: &mut PipeReader,
    child: &mut Child,
    each: &mut dyn FnMut(Option<String>),
) -> io::Result<bool> {
    let mut splitter = LineSplitter::default();
    let mut buffer = [0; 8192];
    let mut rest: Option<Rest> = None;
    let whole = loop {
        let began = Instant::now();
        if is_readable(reader)? {
            match reader.read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => {
                    if let Some(rest) = &mut rest {
                        rest.read(count);
                    }
                    each(None);
                    splitter.push(&buffer[..count], &mut |line| each(Some(line)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        } else if let Some(rest) = &mut rest {
            rest.waited(began.elapsed());
        }
        if rest.is_none() && child.try_wait()?.is_some() {
            rest = Some(Rest::new(Instant::now()));
        }
        if rest.as_ref().is_some_and(|rest| rest.is_left_behind(Instant::now())) {
            break false;
        }
    };
    splitter.finish(&mut |line| each(Some(line)));
    Ok(whole)
}

/// What comes after a command's end. Only rounds in which there was nothing to read count as silence: who takes the
/// lines may be slow, and what the command itself wrote (the cause of its failure, often) may still be in the pipe.
struct Rest {
    since: Instant,
    bytes: usize,
    silent: Duration,
    silent_in_all: Duration,
}

impl Rest {
    fn new(since: Instant) -> Self {
        Self { since, bytes: 0, silent: Duration::ZERO, silent_in_all: Duration::ZERO }
    }

    fn read(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_add(count);
        self.silent = Duration::ZERO;
    }

    /// A process that was stopped meanwhile didn't wait for longer than it meant to.
    fn waited(&mut self, time: Duration) {
        self.silent += time.min(LOOK);
        self.silent_in_all += time.min(LOOK);
    }

    fn is_left_behind(&self, now: Instant) -> bool {
        let talks = self.silent_in_all > TALKS_ON;
        let floods = self.bytes > PIPE && now.saturating_duration_since(self.since) > TALKS_ON;
        self.silent > LEFT_BEHIND || talks || floods
    }
}

/// Waits a moment for something to read, or for the end of it.
fn is_readable(reader: &PipeReader) -> io::Result<bool> {
    let mut wanted = [PollFd::new(reader, PollFlags::IN)];
    let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
    match poll(&mut wanted, Some(&look)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_left_behind_is_listened_to_for_a_while() {
        let ended = Instant::now();
        let half_minute = ended + TALKS_ON + Duration::from_secs(1);
        // Silent.
        let mut rest = Rest::new(ended);
        (0..10).for_each(|_| rest.waited(LOOK));
        assert!(!rest.is_left_behind(ended));
        rest.waited(LOOK);
        assert!(rest.is_left_behind(ended));
        // A word a second, for ever.
        let mut rest = Rest::new(ended);
        let second = |rest: &mut Rest| {
            (0..5).for_each(|_| rest.waited(LOOK));
            rest.read(10);
        };
        (0..30).for_each(|_| second(&mut rest));
        assert!(!rest.is_left_behind(half_minute));
        second(&mut rest);
        assert!(rest.is_left_behind(half_minute));
        // As much as it can; a full pipe that is read slowly is none of these.
        let mut rest = Rest::new(ended);
        rest.read(PIPE);
        assert!(!rest.is_left_behind(half_minute));
        rest.read(1);
        assert!(!rest.is_left_behind(ended) && rest.is_left_behind(half_minute));
    }
}
