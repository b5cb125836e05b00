//! The only place that prints. Standard output is data, standard error is progress and messages.
//!
//! It decides what quiet, JSON and colour mean, keeps text and progress bars apart, and lets no control
//! character of a log, a path or a message reach a terminal: all text passes [`printable`], colours are added
//! behind it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use crate::failure::Failure;

/// Where a program's words go and come from.
pub struct Streams {
    /// Standard output.
    pub out: Box<dyn Write + Send>,
    /// Standard error.
    pub err: Box<dyn Write + Send>,
    /// Standard input.
    pub input: Box<dyn BufRead + Send>,
    /// Whether standard output is a terminal.
    pub out_is_terminal: bool,
    /// Whether standard error is a terminal, so that bars can be drawn there.
    pub err_is_terminal: bool,
    /// Whether standard input is a terminal, so that questions can be asked.
    pub input_is_terminal: bool,
}

impl Streams {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            input: Box::new(io::BufReader::new(io::stdin())),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
            input_is_terminal: io::stdin().is_terminal(),
        }
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("out_is_terminal", &self.out_is_terminal).finish_non_exhaustive()
    }
}

/// How a piece of text stands out; always beside words that say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Heads and names.
    Bold,
    /// What may be overlooked.
    Dim,
    /// It went well.
    Good,
    /// It went badly.
    Bad,
    /// It wants attention.
    Warn,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[1;31m",
            Self::Warn => "\x1b[33m",
        }
    }
}

/// What the user asked of the output.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes {
    /// `--json`: standard output is one JSON document.
    pub json: bool,
    /// `--quiet`: results and errors alone.
    pub quiet: bool,
    /// `--no-color`, or the variable `NO_COLOR`.
    pub no_color: bool,
}

/// Prints. Clones print to the same place.
#[derive(Clone)]
pub struct Printer {
    sinks: Arc<Mutex<Sinks>>,
    // Apart from the sinks, so that a question that waits for its answer holds nothing up.
    input: Arc<Mutex<Box<dyn BufRead + Send>>>,
    bars: MultiProgress,
    wishes: Wishes,
    out_is_terminal: bool,
    err_is_terminal: bool,
    input_is_terminal: bool,
}

struct Sinks {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printer").field("wishes", &self.wishes).finish_non_exhaustive()
    }
}

impl Printer {
    /// A printer on these streams.
    pub fn new(streams: Streams, wishes: Wishes) -> Self {
        let Streams { out, err, input, out_is_terminal, err_is_terminal, input_is_terminal } = streams;
        let draws = err_is_terminal && !wishes.quiet;
        let target = if draws { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self {
            sinks: Arc::new(Mutex::new(Sinks { out, err })),
            input: Arc::new(Mutex::new(input)),
            bars: MultiProgress::with_draw_target(target),
            wishes,
            out_is_terminal,
            err_is_terminal,
            input_is_terminal,
        }
    }

    /// Whether standard output is to be one JSON document.
    pub fn json(&self) -> bool {
        self.wishes.json
    }

    /// Whether progress can be drawn.
    pub fn draws(&self) -> bool {
        self.err_is_terminal && !self.wishes.quiet
    }

    /// Whether someone is there to be asked.
    pub fn can_ask(&self) -> bool {
        self.input_is_terminal && self.err_is_terminal
    }

    /// The progress bars, which text printed here goes around.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// The width of the terminal that tables go to; none on a pipe.
    pub fn width(&self) -> Option<u16> {
        self.out_is_terminal.then(|| comfy_table::Table::new().width()).flatten()
    }

    /// Data: text of one line or several, each ended.
    pub fn out(&self, text: &str) -> Result<(), Failure> {
        self.out_spans(&[(Style::Plain, text)])
    }

    /// Data in several styles.
    pub fn out_spans<S: AsRef<str>>(&self, spans: &[(Style, S)]) -> Result<(), Failure> {
        let text = self.compose(spans, self.out_is_terminal);
        Ok(self.locked(|sinks| write_all(&mut sinks.out, &text))?)
    }

    /// Data that must arrive byte for byte: a document, not for people.
    pub fn out_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.locked(|sinks| write_all(&mut sinks.out, bytes))?)
    }

    /// Data as a JSON document.
    pub fn out_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::usage(error.to_string()))?;
        self.out_bytes((text + "\n").as_bytes())
    }

    /// What goes on meanwhile (log lines, stages): data beside which a result will stand, but progress beside a JSON
    /// document. Nothing when quiet.
    pub fn commentary<S: AsRef<str>>(&self, spans: &[(Style, S)]) -> Result<(), Failure> {
        match (self.wishes.quiet, self.wishes.json) {
            (true, _) => Ok(()),
            (false, false) => self.out_spans(spans),
            (false, true) => {
                self.err_spans(spans);
                Ok(())
            }
        }
    }

    /// A message about what is going on; not when quiet.
    pub fn note(&self, text: &str) {
        if !self.wishes.quiet {
            self.err_spans(&[(Style::Plain, text)]);
        }
    }

    /// Something the user should know though it is no error.
    pub fn warning(&self, text: &str) {
        self.err_spans(&[(Style::Warn, "warning:"), (Style::Plain, " "), (Style::Plain, text)]);
    }

    /// An error, in one line.
    pub fn error(&self, text: &str) {
        self.err_spans(&[(Style::Bad, "error:"), (Style::Plain, " "), (Style::Plain, text)]);
    }

    /// What is wrong with the command line, in as many lines as it takes.
    pub fn usage(&self, text: &str) {
        self.err_spans(&[(Style::Plain, text)]);
    }

    /// Why a command ends, with its hint.
    pub fn failure(&self, failure: &Failure) {
        if let Some(sentence) = &failure.sentence {
            self.error(sentence);
        }
        if let Some(hint) = &failure.hint {
            self.err_spans(&[(Style::Bold, "hint:"), (Style::Plain, " "), (Style::Plain, hint)]);
        }
    }

    /// Asks on the terminal and reads one line; none at the end of input.
    pub async fn ask(&self, question: &str) -> Option<String> {
        let text = self.compose_unended(&[(Style::Bold, question), (Style::Plain, " ")], self.err_is_terminal);
        // Nobody sees the question if standard error is gone, and then nobody answers it.
        self.locked(|sinks| write_all(&mut sinks.err, &text)).ok()?;
        let input = self.input.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let mut input = input.lock().expect("reading does not panic");
            input.read_line(&mut line).ok().filter(|&read| read > 0).map(|_| line.trim().to_owned())
        });
        read.await.ok().flatten()
    }

    /// All of standard input.
    pub fn read_input(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.input.lock().expect("reading does not panic").read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn err_spans<S: AsRef<str>>(&self, spans: &[(Style, S)]) {
        let text = self.compose(spans, self.err_is_terminal);
        // There is no place left to report that standard error is gone.
        let _ = self.locked(|sinks| write_all(&mut sinks.err, &text));
    }

    fn locked<R>(&self, write: impl FnOnce(&mut Sinks) -> R) -> R {
        self.bars.suspend(|| write(&mut self.lock()))
    }

    fn lock(&self) -> MutexGuard<'_, Sinks> {
        self.sinks.lock().expect("printing does not panic")
    }

    fn compose<S: AsRef<str>>(&self, spans: &[(Style, S)], terminal: bool) -> Vec<u8> {
        let mut text = self.compose_unended(spans, terminal);
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text
    }

    fn compose_unended<S: AsRef<str>>(&self, spans: &[(Style, S)], terminal: bool) -> Vec<u8> {
        let coloured = terminal && !self.wishes.no_color;
        let mut text = String::new();
        for (style, part) in spans {
            let part = printable(part.as_ref());
            match style {
                Style::Plain => text.push_str(&part),
                _ if !coloured => text.push_str(&part),
                style => {
                    text.push_str(style.code());
                    text.push_str(&part);
                    text.push_str("\x1b[0m");
                }
            }
        }
        text.into_bytes()
    }
}

fn write_all(stream: &mut Box<dyn Write + Send>, text: impl AsRef<[u8]>) -> io::Result<()> {
    stream.write_all(text.as_ref())?;
    stream.flush()
}

/// The text with everything escaped that would move a cursor, change a colour or reverse the direction of
/// reading. Line ends and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| match c {
        '\n' | '\t' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => false,
        c => !c.is_control(),
    };
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if harmless(c) => escaped.push(c),
            c if u32::from(c) < 0x100 => {
                // Writing to a string can't fail.
                let _ = write!(escaped, "\\x{:02x}", u32::from(c));
            }
            c => escaped.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;

    #[test]
    fn nothing_in_a_text_can_drive_a_terminal() {
        let table = [
            ("plain täxt\t→", "plain täxt\t→"),
            ("\x1b[2J", "\\x1b[2J"),
            ("a\rb", "a\\x0db"),
            ("\u{9b}31m", "\\x9b31m"),
            ("\u{202e}txt", "\\u{202e}txt"),
        ];
        for (text, expected) in table {
            assert_eq!(printable(text), expected);
        }
    }

    #[test]
    fn colour_is_for_terminals_and_never_asked_for_twice() {
        for (terminal, no_color, expected) in
            [(true, false, "\x1b[32mok\x1b[0m\n"), (true, true, "ok\n"), (false, false, "ok\n")]
        {
            let captured = Captured::default();
            let mut streams = captured.streams("");
            streams.out_is_terminal = terminal;
            let printer = Printer::new(streams, Wishes { no_color, ..Wishes::default() });
            printer.out_spans(&[(Style::Good, "ok")]).unwrap();
            assert_eq!(captured.out(), expected);
        }
    }

    #[test]
    fn quiet_keeps_results_and_errors_and_json_keeps_standard_output_clean() {
        for (wishes, out, err) in [
            (Wishes::default(), "log\nresult\n", "note\nerror: no\n"),
            (Wishes { quiet: true, ..Wishes::default() }, "result\n", "error: no\n"),
            (Wishes { json: true, ..Wishes::default() }, "result\n", "log\nnote\nerror: no\n"),
        ] {
            let captured = Captured::default();
            let printer = Printer::new(captured.streams(""), wishes);
            printer.commentary(&[(Style::Plain, "log")]).unwrap();
            printer.note("note");
            printer.out("result").unwrap();
            printer.error("no");
            assert_eq!((captured.out().as_str(), captured.err().as_str()), (out, err));
        }
    }
}
