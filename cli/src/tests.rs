use super::*;
use testing::Captured;

async fn imgctl(line: &str) -> (Exit, String, String) {
    let captured = Captured::default();
    let args = std::iter::once("imgctl").chain(line.split_whitespace()).map(OsString::from);
    let exit = run(args, |_| None, captured.streams("")).await;
    (exit, captured.out(), captured.err())
}

#[tokio::test]
async fn alone_it_lists_its_verbs_and_asks_for_one() {
    let (exit, _, err) = imgctl("").await;
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("Images:\n  build ") && err.contains("Exit codes: 0 done"), "{err}");
    let (exit, out, _) = imgctl("--help").await;
    assert_eq!((exit, out), (Exit::Done, err));
}

#[tokio::test]
async fn what_is_missing_before_any_connection_is_said_in_one_line() {
    let (exit, _, err) = imgctl("builds list").await;
    assert_eq!(exit, Exit::Usage);
    assert!(err.starts_with("error: no coordinator is configured\nhint: give --coordinator"), "{err}");
    let (exit, _, err) = imgctl("builds list --coordinator mn:7443 --identity /nonexistent").await;
    assert_eq!(exit, Exit::Refused);
    assert!(err.starts_with("error: no identity at `/nonexistent`: there is no `/nonexistent/cert.pem`\n"), "{err}");
    let (exit, _, err) = imgctl("builds list --config /nonexistent.toml").await;
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("/nonexistent.toml"), "{err}");
}
