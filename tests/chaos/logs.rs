//! Whether every attempt's log is whole: the numbered lines in order, none missing, none twice, each as it was written.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::Cli;

use crate::load::{Seen, number, word};
use crate::script::{LINES, expected, numbered};
use crate::story::Story;

/// How a log begins its last line that the coordinator's disk had no room for the end of.
const CUT_SHORT: &str = "(the rest of the log is missing";

/// Numbered lines by the word of the script that wrote them.
type Counts = BTreeMap<String, u64>;

/// Reads every log and compares what followers have seen.
pub(crate) fn judge(cli: &Cli, builds: &[Value], seen: &Seen, story: &Story) {
    let mut counts = Counts::new();
    for build in builds {
        for attempt in build["attempts"].as_array().into_iter().flatten() {
            one(cli, build, attempt, &mut counts, story);
        }
    }
    let lines: u64 = counts.values().sum();
    story.tell(format!("{} logs with numbered lines, {lines} of these", counts.len()));
    for (words, ran) in &seen.followed {
        followed(words, &ran.out, &counts, story);
        // Who can't reach the coordinator to begin with, or finds its disk full, is told so; who follows a build never is.
        let is_refused = ran.code == 3 && ran.err.contains(" is full; make room");
        let never_began = (ran.code == 4 || is_refused) && ran.out.is_empty();
        if ![0, 1].contains(&ran.code) && !never_began {
            story.wrong(format!("`imgctl {words}` ended with {}: {}", ran.code, ran.err.trim()));
        }
    }
    story.tell(format!("{} followers were right", seen.followed.len()));
}

fn one(cli: &Cli, build: &Value, attempt: &Value, counts: &mut Counts, story: &Story) {
    let which = format!("{} --attempt {}", number(build), attempt["attempt"]);
    let ran = cli.run(&format!("builds logs {which}"));
    let what = format!("the log of build {which}");
    if ran.code != 0 || ran.err.contains("missing") {
        story.wrong(format!("{what}: {} {}", ran.code, ran.err.trim()));
    }
    let lines: Vec<&str> = ran.out.lines().collect();
    let firsts = lines.iter().filter(|line| line.starts_with("attempt ")).count();
    if firsts != lines.len().min(1) || lines.first().is_some_and(|line| !line.starts_with("attempt ")) {
        story.wrong(format!("{what} begins {firsts} times; first {:?}", lines.first()));
    }
    // What an agent had not sent when it was killed or cut off is lost with the attempt.
    let is_lost = attempt["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("lost: "));
    let is_done = stage_is_done(attempt, "postinstall") && !is_lost;
    match read(&lines, is_done) {
        Err(why) => story.wrong(format!("{what}: {why}")),
        Ok(None) if is_done => story.wrong(format!("{what} has no numbered line, and postinstall is done")),
        Ok(None) => {}
        Ok(Some((word, count))) => {
            if is_done && count != LINES && !lines.last().is_some_and(|line| line.starts_with(CUT_SHORT)) {
                story.wrong(format!("{what} has {count} of {LINES} lines, and postinstall is done"));
            }
            if counts.insert(word.clone(), count).is_some() {
                story.wrong(format!("{what} has lines of another attempt ({word})"));
            }
        }
    }
    if lines.last().is_some_and(|line| line.starts_with(CUT_SHORT)) {
        story.tell(format!("{what} says that the disk was full"));
    }
    let is_last = build["attempts"].as_array().is_some_and(|all| all.last() == Some(attempt));
    let archives = lines.iter().filter(|line| line.starts_with("archive of ")).count();
    if word(build) == "succeeded" && is_last && archives != 1 {
        story.wrong(format!("{what} tells of {archives} archives, and the build succeeded"));
    }
}

fn stage_is_done(attempt: &Value, stage: &str) -> bool {
    let stages = attempt["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
    stages.iter().any(|record| record["stage"] == stage && record["status"] == "done")
}

/// The word and the number of the numbered lines, each checked to the letter. Where the script was killed, the last
/// may be a piece of one.
fn read(lines: &[&str], is_whole: bool) -> Result<Option<(String, u64)>, String> {
    let mut found: Option<(String, u64)> = None;
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        if !line.starts_with("chaos ") && !line.starts_with("… ") {
            continue;
        }
        let last = found.as_ref().map_or(0, |(_, last)| *last);
        let rest_is_ours = lines[at..].iter().any(|line| line.starts_with("chaos "));
        let Some((word, n)) = numbered(line).filter(|(_, n)| *n == last + 1) else {
            if !is_whole && !rest_is_ours {
                break;
            }
            return Err(format!("`{}` follows on line {last}", line.chars().take(60).collect::<String>()));
        };
        if found.as_ref().is_some_and(|(known, _)| known != word) {
            return Err(format!("line {n} is of {word}, and those before it are of {found:?}"));
        }
        let pieces = expected(word, n);
        let end = (at - 1 + pieces.len()).min(lines.len());
        if lines[at - 1..end].iter().ne(pieces.iter()) {
            if !is_whole && !rest_is_ours {
                break;
            }
            return Err(format!("line {n} is not what was written"));
        }
        at = end;
        found = Some((word.to_owned(), n));
    }
    Ok(found)
}

/// A follower sees every line of a log once and in order.
fn followed(words: &str, text: &str, counts: &Counts, story: &Story) {
    let mut seen = Counts::new();
    for (word, n) in text.lines().filter_map(numbered) {
        let last = seen.entry(word.to_owned()).or_default();
        if n != *last + 1 {
            story.wrong(format!("`imgctl {words}` showed line {n} of {word} after line {last}"));
        }
        *last = n;
    }
    for (word, n) in &seen {
        let in_log = counts.get(word).copied().unwrap_or(0);
        if in_log.abs_diff(*n) > 1 {
            story.wrong(format!("`imgctl {words}` showed {n} lines of {word}, and the log has {in_log}"));
        }
    }
}
