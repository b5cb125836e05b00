//! `modules.yaml`: which module streams an rpm repository has, as far as is needed to not refuse one that is there.
//!
//! It is read line by line and not as YAML: the file is written by one program in one way. What doesn't look like
//! that is `Unknown`, and then no stream is refused.

use std::io::{self, BufRead, Read};

use super::file::Damage;
use super::stock::{MAX_NAME, Modules, Stock, Stream};
use super::weight::TooMuch;

/// AppStream has some hundred streams.
const MAX_STREAMS: usize = 20_000;
/// Bytes of one line; descriptions are wrapped.
const MAX_LINE: u64 = 1 << 20;
/// Words of one document; a stream of perl has a thousand packages.
const MAX_WORDS: usize = 200_000;

/// Adds the streams of a file.
pub(super) fn read(mut document: impl BufRead, stock: &mut Stock) -> Result<(), Damage> {
    let (mut streams, mut current, mut is_stream, mut any) = (Vec::new(), Stream::default(), false, false);
    let mut line = String::new();
    loop {
        line.clear();
        let read = document.by_ref().take(MAX_LINE).read_line(&mut line).map_err(Damage::Read)?;
        if read as u64 == MAX_LINE {
            return Err(Damage::Read(io::Error::other("a line of it is too long")));
        }
        if read == 0 || line.starts_with("---") {
            if is_stream {
                streams.push(std::mem::take(&mut current));
            }
            (current, is_stream) = (Stream::default(), false);
        }
        if read == 0 {
            break;
        }
        any |= !line.trim().is_empty();
        is_stream |= line.trim_end() == "document: modulemd";
        take(&mut current, &line, stock)?;
        if streams.len() > MAX_STREAMS || current.words.len() > MAX_WORDS {
            return Err(Damage::Content("it has more streams or packages than a repository can have".to_owned()));
        }
    }
    let understood = streams.iter().all(|one: &Stream| !one.module.is_empty() && !one.stream.is_empty());
    stock.modules =
        if understood && (!streams.is_empty() || !any) { Modules::Known(streams) } else { Modules::Unknown };
    Ok(())
}

/// `name` and `stream` stand directly below `data`; every entry of a list, in either form, may be a package.
fn take(stream: &mut Stream, line: &str, stock: &mut Stock) -> Result<(), TooMuch> {
    let (text, indent) = (line.trim(), line.len() - line.trim_start().len());
    if indent == 2
        && let Some((key, value)) = text.split_once(": ")
    {
        match key {
            "name" => stream.module = stock.owned(bare(value))?,
            "stream" => stream.stream = stock.owned(bare(value))?,
            _ => {}
        }
    }
    let list = match text.strip_prefix("- ") {
        Some(word) => word,
        None => text.split_once(": [").map_or("", |(_, list)| list.trim_end_matches(']')),
    };
    // What is longer is a paragraph.
    for word in list.split(',').map(bare).filter(|word| !word.is_empty() && word.len() <= MAX_NAME) {
        stream.words.push(stock.owned(word)?);
    }
    Ok(())
}

fn bare(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(text: &str) -> Modules {
        let mut stock = Stock::default();
        read(text.as_bytes(), &mut stock).unwrap();
        stock.modules
    }

    #[test]
    fn streams_are_told_with_what_they_list() {
        let text = "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: ruby\n  stream: \"3.1\"\n\
            ---\ndocument: modulemd\nversion: 2\ndata:\n  name: ruby\n  stream: \"3.1\"\n  summary: name: no\n\
            \x20 profiles:\n    common:\n      rpms: [ruby, irb]\n    minimal:\n      rpms:\n      - ruby-libs\n\
            \x20 artifacts:\n    rpms:\n    - ruby-0:3.1-1.x86_64\n...\n\
            ---\ndocument: modulemd\ndata:\n  name: nodejs\n  stream: 18\n";
        let Modules::Known(streams) = modules(text) else { panic!("it is understood") };
        let told: Vec<_> = streams.iter().map(|one| format!("{}:{}", one.module, one.stream)).collect();
        assert_eq!(told, ["ruby:3.1", "nodejs:18"]);
        assert_eq!(streams[0].words, ["ruby", "irb", "ruby-libs", "ruby-0:3.1-1.x86_64"]);
    }

    #[test]
    fn what_is_not_understood_is_unknown() {
        for text in ["{\"document\": \"modulemd\"}\n", "---\ndocument: modulemd\ndata: {name: a, stream: b}\n"] {
            assert_eq!(modules(text), Modules::Unknown, "{text}");
        }
        assert_eq!(modules(""), Modules::Known(Vec::new()));
    }
}
