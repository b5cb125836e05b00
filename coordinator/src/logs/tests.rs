use super::*;

fn line(text: &str) -> LogLine {
    LogLine { time_ms: 5, stage: "packages".into(), text: text.into() }
}

fn id() -> AttemptId {
    attempt_id(BuildId::FIRST, Attempt::FIRST)
}

fn texts(reader: &mut LogReader) -> Vec<String> {
    reader.read(u64::MAX).unwrap().1.into_iter().map(|line| line.text).collect()
}

fn all(logs: &Logs) -> Vec<String> {
    texts(&mut logs.read(id(), 1))
}

fn registered(logs: &Logs) -> usize {
    logs.with_open(|open| open.len())
}

#[test]
fn lines_sent_twice_or_with_a_gap_stand_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    let log = logs.attempt(id()).unwrap();
    assert_eq!(log.append(1, &[line("a"), line("b")]).unwrap(), 3);
    assert_eq!(log.append(2, &[line("b"), line("c")]).unwrap(), 4);
    assert_eq!(log.append(9, &[line("z")]).unwrap(), 4);
    assert_eq!(log.append(1, &[line("a")]).unwrap(), 4);
    assert_eq!(all(&logs), ["a", "b", "c"]);
}

#[test]
fn a_line_torn_by_a_kill_is_cut_off_and_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    Logs::open(dir.path()).unwrap().attempt(id()).unwrap().append(1, &[line("a")]).unwrap();
    let path = dir.path().join("1/1.log");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"5 packages hal").unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    // One who reads before anything was written again sees the whole lines, and goes on with what comes.
    let mut reader = logs.read(id(), 1);
    assert_eq!(texts(&mut reader), ["a"]);
    assert_eq!(logs.attempt(id()).unwrap().append(2, &[line("half no more")]).unwrap(), 3);
    assert_eq!(texts(&mut reader), ["half no more"]);
    assert_eq!(all(&logs), ["a", "half no more"]);
}

#[test]
fn a_reader_starts_at_any_line_and_stops_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    let log = logs.attempt(id()).unwrap();
    log.append(1, &["a", "b", "c", "d"].map(line)).unwrap();
    let (first, lines) = logs.read(id(), 2).read(3).unwrap();
    assert_eq!((first, lines), (2, vec![line("b"), line("c")]));
    assert_eq!(logs.tail(id(), 2), [line("c"), line("d")]);
    let mut ahead = logs.read(id(), 6);
    assert!(texts(&mut ahead).is_empty());
    log.append(5, &["e", "f"].map(line)).unwrap();
    assert_eq!(ahead.read(u64::MAX).unwrap(), (6, vec![line("f")]));
}

#[test]
fn the_end_of_a_long_log_is_read_from_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    let log = logs.attempt(id()).unwrap();
    let lines: Vec<LogLine> = (1..=20_000).map(|number| line(&format!("line {number:0100}"))).collect();
    log.append(1, &lines).unwrap();
    OpenOptions::new().append(true).open(dir.path().join("1/1.log")).unwrap().write_all(b"5 packages torn").unwrap();
    assert_eq!(logs.tail(id(), 3), lines[19_997..]);
    // However many are asked for: no more than the end is looked at.
    let most = logs.tail(id(), usize::MAX);
    assert!((2000..3000).contains(&most.len()), "{}", most.len());
    assert_eq!(most, lines[20_000 - most.len()..]);
    assert!(logs.tail(attempt_id(BuildId::FIRST, Attempt::FIRST.next()), 3).is_empty());
}

#[tokio::test]
async fn a_compressed_log_reads_as_before_and_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    logs.attempt(id()).unwrap().append(1, &["a", "b", "c"].map(line)).unwrap();
    logs.end(id());
    logs.compress(id()).await.unwrap();
    assert!(!dir.path().join("1/1.log").exists());
    let log = logs.attempt(id()).unwrap();
    assert!(log.head().borrow().ended);
    assert_eq!(log.append(4, &[line("d")]).unwrap(), 5);
    assert_eq!(all(&logs), ["a", "b", "c"]);
    assert_eq!(logs.tail(id(), 1), [line("c")]);
    assert!(!dir.path().join("1/1.log").exists());
}

#[tokio::test]
async fn a_log_that_ends_twice_at_once_is_compressed_once() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    // Of a text that doesn't shrink, so that compressing takes many writes.
    let lines: Vec<LogLine> =
        (0..20_000u64).map(|n| line(&format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))).collect();
    logs.attempt(id()).unwrap().append(1, &lines).unwrap();
    logs.end(id());
    let (one, other) = tokio::join!(logs.compress(id()), logs.compress(id()));
    one.and(other).unwrap();
    let mut reader = logs.read(id(), 1);
    let mut read = Vec::new();
    while let (_, more) = reader.read(u64::MAX).unwrap()
        && !more.is_empty()
    {
        read.extend(more);
    }
    assert!(read == lines, "the compressed log is damaged");
}

#[tokio::test]
async fn reading_a_log_that_is_not_written_to_opens_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    assert!(logs.written(id()).is_none());
    assert!(all(&logs).is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let log = logs.attempt(id()).unwrap();
    log.append(1, &[line("a")]).unwrap();
    let head = logs.written(id()).unwrap().head();
    logs.end(id());
    assert!(head.borrow().ended);
    for compressed in [false, true] {
        assert_eq!(all(&logs), ["a"], "{compressed}");
        assert!(logs.written(id()).is_none());
        assert_eq!(registered(&logs), 0);
        if !compressed {
            // A push that comes too late opens it once more, until it is compressed.
            logs.attempt(id()).unwrap();
            logs.compress(id()).await.unwrap();
        }
    }
    logs.attempt(id()).unwrap();
    assert_eq!(registered(&logs), 0);
}

#[test]
fn while_one_log_is_counted_the_others_can_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    let other = AttemptId { attempt: Attempt::FIRST.next(), ..id() };
    let slot = logs.with_open(|open| open.entry(id()).or_default().clone());
    let _counting = slot.lock().unwrap();
    assert!(logs.written(id()).is_none());
    logs.attempt(other).unwrap().append(1, &[line("a")]).unwrap();
    logs.end(id());
}

#[test]
fn a_log_that_is_too_long_goes_on_counting_and_says_once_that_it_keeps_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Logs { longest: 32, ..Logs::open(dir.path()).unwrap() };
    let long = "0123456789";
    open().attempt(id()).unwrap().append(1, &[long, long, long].map(line)).unwrap();
    // The same after a restart.
    let logs = open();
    let log = logs.attempt(id()).unwrap();
    assert_eq!(log.append(3, &[long, long].map(line)).unwrap(), 5);
    assert_eq!(log.head().borrow().lines, 4);
    assert_eq!(log.head().borrow().last, Some(line(long)));
    assert_eq!(all(&logs), [long, long, TOO_LONG, ""]);
}

#[test]
fn nothing_comes_after_the_last_line_and_an_empty_log_stays_empty() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    let log = logs.attempt(id()).unwrap();
    log.conclude(line("cancelled")).unwrap();
    assert!(all(&logs).is_empty());
    log.append(1, &[line("a")]).unwrap();
    log.conclude(line("cancelled")).unwrap();
    assert_eq!(log.append(2, &["b", "c"].map(line)).unwrap(), 4, "as if it were taken");
    log.conclude(line("twice")).unwrap();
    logs.end(id());
    assert_eq!(all(&logs), ["a", "cancelled"]);
}
