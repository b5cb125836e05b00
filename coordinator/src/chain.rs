//! An error with its sources, on one line: for logs and for failures that users see.

use std::error::Error;

/// The error, then each of its sources that says something new.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(&format!(": {more}"));
        }
        source = error.source();
    }
    text
}
