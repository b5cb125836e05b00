//! Streams that remember, for tests of this crate.

use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use crate::output::Streams;

/// What was printed.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    out: Sink,
    err: Sink,
}

#[derive(Debug, Default, Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Captured {
    /// Streams that are no terminals, with this as standard input.
    pub(crate) fn streams(&self, input: &str) -> Streams {
        Streams {
            out: Box::new(self.out.clone()),
            err: Box::new(self.err.clone()),
            input: Box::new(Cursor::new(input.as_bytes().to_vec())),
            out_is_terminal: false,
            err_is_terminal: false,
            input_is_terminal: false,
        }
    }

    /// Standard output.
    pub(crate) fn out(&self) -> String {
        self.out.text()
    }

    /// Standard error.
    pub(crate) fn err(&self) -> String {
        self.err.text()
    }
}
