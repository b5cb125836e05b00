//! Bytes as printable text and back: file names are bytes, manifests and lists are lines.
//!
//! Printable UTF-8 stays as it is, a backslash becomes `\\`, every other byte `\xNN`. The result is what
//! `printf %b` understands, so a shell script in an initrd can undo it.

use std::fmt::Write as _;

use thiserror::Error;

/// Whether a blank may stand in the escaped text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blanks {
    /// Leave blanks alone: for messages and JSON.
    Keep,
    /// Write `\x20`: for lists whose fields are separated by blanks.
    Escape,
}

/// Text that [`escape`] can not have written.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("bad escape at byte {at} of `{text}`: expected `\\\\` or `\\xNN`")]
pub struct BadEscape {
    at: usize,
    text: String,
}

/// Writes `bytes` as one line of printable text.
pub fn escape(bytes: &[u8], blanks: Blanks) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let hidden = c.is_control()
                || (c.is_whitespace() && c != ' ')
                || (c == ' ' && blanks == Blanks::Escape)
                || is_invisible(c);
            match c {
                '\\' => out.push_str("\\\\"),
                _ if hidden => push_hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                _ => out.push(c),
            }
        }
        push_hex(&mut out, chunk.invalid());
    }
    out
}

/// Direction marks and other characters that would make a printed name lie about itself.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(out, "\\x{byte:02x}").expect("writing to a string does not fail");
    }
}

/// Gives back the bytes that [`escape`] was given.
pub fn unescape(text: &str) -> Result<Vec<u8>, BadEscape> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        match bytes[at + 1..] {
            [b'\\', ..] => {
                out.push(b'\\');
                at += 2;
            }
            [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(nibble(high) << 4 | nibble(low));
                at += 4;
            }
            _ => {
                return Err(BadEscape { at, text: text.to_owned() });
            }
        }
    }
    Ok(out)
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_would_not_print_is_escaped() {
        for (bytes, text) in [
            (&b"usr/bin/ping"[..], "usr/bin/ping"),
            ("gru\u{df} dich".as_bytes(), "gru\u{df} dich"),
            (b"two\nlines", "two\\x0alines"),
            (b"back\\slash", "back\\\\slash"),
            (b"latin\xe9", "latin\\xe9"),
            ("\u{202e}gpj".as_bytes(), "\\xe2\\x80\\xaegpj"),
        ] {
            assert_eq!(escape(bytes, Blanks::Keep), text);
            assert_eq!(unescape(text).unwrap(), bytes);
        }
        assert_eq!(escape(b"a b", Blanks::Escape), "a\\x20b");
    }

    #[test]
    fn a_broken_escape_is_refused() {
        for text in ["\\", "\\x4", "\\n", "\\xzz"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            for blanks in [Blanks::Keep, Blanks::Escape] {
                let text = escape(&bytes, blanks);
                prop_assert!(!text.contains('\n'));
                prop_assert_eq!(unescape(&text).unwrap(), bytes.clone());
            }
        }
    }
}
