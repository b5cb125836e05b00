//! XML of repositories, token by token, bounded so that a hostile file can't hurt.
//!
//! Nothing is held but the token at hand. Its size and the depth of nesting have limits, entities of the document's
//! own are never expanded (they are an error), and a document that ends early is one.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

/// Names, paths and checksums; a text may come in many pieces.
const MAX_TEXT: usize = 64 << 10;
/// Descriptions and changelogs have some dozen kilobytes.
const MAX_TOKEN: usize = 1 << 20;
/// primary.xml has five levels, comps.xml six.
const MAX_DEPTH: usize = 32;

/// Why a document can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum XmlError {
    #[error("it is no sound XML at byte {at}")]
    Syntax {
        at: u64,
        #[source]
        source: quick_xml::Error,
    },
    #[error("it refers to `&{0:.60};`, which is not one of XML's own entities")]
    Entity(String),
    #[error("its elements are nested more than {MAX_DEPTH} deep")]
    Depth,
    #[error("a text of it is longer than {} KiB", MAX_TEXT >> 10)]
    Text,
    #[error("it ends within an element")]
    EndsEarly,
    #[error("it is no <{0}> document")]
    Root(&'static str),
}

/// One token. Texts may come in several pieces.
#[derive(Debug)]
pub(super) enum Token<'a> {
    Open(Tag<'a>),
    Close,
    Text(Cow<'a, str>),
    /// Comments and their like.
    Other,
    End,
}

/// The start of an element.
#[derive(Debug)]
pub(super) struct Tag<'a>(BytesStart<'a>);

impl Tag<'_> {
    /// The element's name without its namespace.
    pub(super) fn name(&self) -> &str {
        let name = self.0.name().0;
        let prefix = name.find(':').map_or(0, |colon| colon + 1);
        let whole: &str = &self.0;
        whole.get(prefix..name.len()).unwrap_or(whole)
    }

    /// The value of an attribute; `None` also for one that isn't written soundly.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = self.0.attributes();
        let found = attributes.with_checks(false).flatten().find(|attribute| attribute.key.0 == name)?;
        found.normalized_value(XmlVersion::Implicit1_0).ok().map(Cow::into_owned)
    }
}

/// Adds a piece to the text that it is of.
pub(super) fn gather(text: &mut String, piece: &str) -> Result<(), XmlError> {
    if text.len() + piece.len() > MAX_TEXT {
        return Err(XmlError::Text);
    }
    text.push_str(piece);
    Ok(())
}

/// A document that is being read.
pub(super) struct Xml<R> {
    reader: Reader<Metered<R>>,
    buffer: Vec<u8>,
    depth: usize,
    root: &'static str,
    begun: bool,
}

impl<R: BufRead> Xml<R> {
    /// A document whose outermost element must have this name.
    pub(super) fn new(inner: R, root: &'static str) -> Self {
        let mut reader = Reader::from_reader(Metered { inner, left: MAX_TOKEN });
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new(), depth: 0, root, begun: false }
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token<'_>, XmlError> {
        self.buffer.clear();
        self.reader.get_mut().left = MAX_TOKEN;
        let at = self.reader.buffer_position();
        let event = self.reader.read_event_into(&mut self.buffer);
        Ok(match event.map_err(|source| XmlError::Syntax { at, source })? {
            Event::Start(start) => {
                let tag = Tag(start);
                if self.depth == 0 && tag.name() != self.root {
                    return Err(XmlError::Root(self.root));
                }
                (self.begun, self.depth) = (true, self.depth + 1);
                if self.depth > MAX_DEPTH {
                    return Err(XmlError::Depth);
                }
                Token::Open(tag)
            }
            Event::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Token::Close
            }
            Event::Text(text) => Token::Text(text.into_inner()),
            Event::CData(text) => Token::Text(text.into_inner()),
            Event::GeneralRef(reference) => match resolve_predefined_entity(&reference) {
                Some(text) => Token::Text(text.into()),
                None => match reference.resolve_char_ref() {
                    Ok(Some(letter)) => Token::Text(letter.to_string().into()),
                    _ => return Err(XmlError::Entity(reference.into_inner().into_owned())),
                },
            },
            Event::Eof if self.depth > 0 => return Err(XmlError::EndsEarly),
            Event::Eof if !self.begun => return Err(XmlError::Root(self.root)),
            Event::Eof => Token::End,
            _ => Token::Other,
        })
    }
}

/// A reader that gives out so much at a time and no more.
struct Metered<R> {
    inner: R,
    left: usize,
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other(format!("a single token is larger than {} KiB", MAX_TOKEN >> 10)));
        }
        let bytes = self.inner.fill_buf()?;
        Ok(&bytes[..bytes.len().min(self.left)])
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount);
        self.inner.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, as text, or the error.
    fn read(text: &str) -> Result<String, String> {
        let mut xml = Xml::new(text.as_bytes(), "a");
        let mut said = String::new();
        loop {
            match xml.next().map_err(|error| error.to_string())? {
                Token::Open(tag) => {
                    said += &format!("<{} {}>", tag.name(), tag.attribute("x").unwrap_or_default());
                }
                Token::Close => said += "<>",
                Token::Text(text) => said += &text,
                Token::Other => {}
                Token::End => return Ok(said),
            }
        }
    }

    #[test]
    fn a_sound_document_is_read_and_a_hostile_one_refused() {
        let sound = "<?xml version=\"1.0\"?><!DOCTYPE a><a><!-- c --><n:b x='1 &lt; 2'/>a &amp; &#98;</a>";
        assert_eq!(read(sound).unwrap(), "<a ><b 1 < 2><>a & b<>");
        let bomb = "<!DOCTYPE a [<!ENTITY l \"lol\"><!ENTITY m \"&l;&l;&l;\">]><a>&m;</a>";
        let deep = format!("<a>{}", "<b>".repeat(MAX_DEPTH));
        let huge = format!("<a><b x=\"{}\"/></a>", "y".repeat(2 * MAX_TOKEN));
        let table = [
            ("this is no XML\n", "it is no <a> document"),
            ("", "it is no <a> document"),
            ("<b/>", "it is no <a> document"),
            ("<a><b>", "it ends within an element"),
            ("<a></b></a>", "it is no sound XML at byte 3"),
            (bomb, "it refers to `&m;`, which is not one of XML's own entities"),
            (&deep, "its elements are nested more than 32 deep"),
            (&huge, "it is no sound XML at byte 3"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).unwrap_err(), expected, "{text:.60}");
        }
    }
}
