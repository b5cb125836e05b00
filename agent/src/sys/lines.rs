//! Bytes of a program's output become log lines: split, capped, and made safe to print on any terminal.

/// The longest line kept in one piece, in bytes; long enough for every honest command line.
const LONGEST: usize = 16 << 10;

/// What a line that goes on starts with.
const GOES_ON: &str = "… ";

/// Cuts a stream into lines as it comes. A carriage return ends a line as well, so that progress bars show.
#[derive(Debug, Default)]
pub struct LineSplitter {
    pending: Vec<u8>,
    continued: bool,
    after_return: bool,
}

impl LineSplitter {
    /// Takes more bytes; gives every line that they complete to `each`.
    pub fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(String)) {
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' => self.end(each),
                // A bar that is wiped leaves nothing to show.
                b'\r' if self.pending.is_empty() => {}
                b'\r' => self.end(each),
                _ => {
                    self.pending.push(byte);
                    if self.pending.len() >= LONGEST && ends_on_a_character(&self.pending) {
                        self.emit(each);
                        self.continued = true;
                    }
                }
            }
        }
    }

    /// The stream is over: what is left is a line too.
    pub fn finish(mut self, each: &mut dyn FnMut(String)) {
        if !self.pending.is_empty() {
            self.emit(each);
        }
    }

    fn end(&mut self, each: &mut dyn FnMut(String)) {
        if !(self.continued && self.pending.is_empty()) {
            self.emit(each);
        }
        self.continued = false;
    }

    fn emit(&mut self, each: &mut dyn FnMut(String)) {
        let text = printable(&self.pending);
        self.pending.clear();
        each(if self.continued { format!("{GOES_ON}{text}") } else { text });
    }
}

/// Whether a cut here leaves no character in two pieces; gives up where the bytes are not UTF-8 anyway.
fn ends_on_a_character(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len() - 4..];
    let end = tail.iter().rposition(|byte| byte & 0xc0 != 0x80);
    end.is_none_or(|start| std::str::from_utf8(&tail[start..]).is_ok()) || bytes.len() >= LONGEST + 4
}

/// The text with control characters, and bytes that are not UTF-8, written as `\xNN`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() && character != '\t' {
                let mut buffer = [0; 4];
                escape(character.encode_utf8(&mut buffer).as_bytes(), &mut text);
            } else {
                text.push(character);
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str("\\x");
        text.extend([byte >> 4, byte & 15].iter().filter_map(|digit| char::from_digit((*digit).into(), 16)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut splitter = LineSplitter::default();
        for piece in pieces {
            splitter.push(piece, &mut |line| found.push(line));
        }
        splitter.finish(&mut |line| found.push(line));
        found
    }

    #[test]
    fn lines_end_at_newlines_and_carriage_returns() {
        assert_eq!(lines(&[b"a\nb\r\nc"]), ["a", "b", "c"]);
        assert_eq!(lines(&[b"10%\r20", b"%\r\n"]), ["10%", "20%"]);
        assert_eq!(lines(&[b"a\n\nb"]), ["a", "", "b"]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn a_long_line_goes_on_in_the_next() {
        let long = vec![b'x'; LONGEST + 10];
        let found = lines(&[&long, b"\nnext\n"]);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].len(), LONGEST);
        assert_eq!(found[1], format!("{GOES_ON}{}", "x".repeat(10)));
        assert_eq!(found[2], "next");
        let exact = [vec![b'x'; LONGEST], b"\nnext".to_vec()].concat();
        assert_eq!(lines(&[&exact]).len(), 2);
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        for (bytes, text) in [
            (&b"caf\xc3\xa9\tok"[..], "café\tok"),
            (b"\x1b[31mred\x07", "\\x1b[31mred\\x07"),
            (b"latin \xe9\xff", "latin \\xe9\\xff"),
            ("c1 \u{9b}".as_bytes(), "c1 \\xc2\\x9b"),
        ] {
            assert_eq!(printable(bytes), text);
        }
    }
}
