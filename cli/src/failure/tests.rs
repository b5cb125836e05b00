use super::*;

fn endpoint() -> Endpoint {
    Endpoint { address: "mn:7443".into(), identity: "/id".into() }
}

fn with_source(code: Code, source: impl Error + Send + Sync + 'static) -> Status {
    let mut status = Status::new(code, "transport error");
    status.set_source(std::sync::Arc::new(source));
    status
}

fn alert(description: AlertDescription) -> Status {
    let tls = rustls::Error::AlertReceived(description);
    with_source(Code::Unknown, io::Error::new(io::ErrorKind::InvalidData, tls))
}

#[test]
fn every_answer_becomes_a_sentence_and_a_code() {
    let table = [
        (Status::not_found("no osimage `computee`; did you mean `compute`?"), Exit::Refused, "did you mean `compute`?"),
        (Status::permission_denied("ann has the role viewer; this needs operator"), Exit::Refused, "needs operator"),
        (Status::unauthenticated("no certificate"), Exit::Refused, "no certificate"),
        (Status::already_exists("there is an osimage `a`"), Exit::Refused, "there is an osimage `a`"),
        (Status::failed_precondition("it has ended"), Exit::Refused, "it has ended"),
        (Status::aborted("it is at revision 4"), Exit::Refused, "revision 4"),
        (Status::invalid_argument("field `name`: is required"), Exit::Usage, "field `name`"),
        (
            Status::internal("internal error (request 7)"),
            Exit::Refused,
            "the coordinator failed: internal error (request 7)",
        ),
        (Status::unimplemented("x"), Exit::Refused, "doesn't know this request"),
        (Status::unavailable("shutting down"), Exit::Unreachable, "mn:7443 doesn't answer: shutting down"),
        (Status::unknown("x"), Exit::Unreachable, "mn:7443 broke"),
        (
            with_source(Code::Unavailable, io::Error::from(io::ErrorKind::ConnectionRefused)),
            Exit::Unreachable,
            "cannot reach the coordinator at mn:7443: connection refused",
        ),
        (
            with_source(Code::Unavailable, io::Error::from(io::ErrorKind::TimedOut)),
            Exit::Unreachable,
            "no answer within 5 s",
        ),
        (alert(AlertDescription::CertificateExpired), Exit::Refused, "the certificate in `/id` has expired"),
        (alert(AlertDescription::UnknownCA), Exit::Refused, "another CA signed it"),
        (alert(AlertDescription::CertificateRequired), Exit::Refused, "without a certificate"),
        (alert(AlertDescription::BadCertificate), Exit::Refused, "can't accept the certificate in `/id`"),
        (alert(AlertDescription::AccessDenied), Exit::Refused, "no longer lets in"),
    ];
    for (status, exit, part) in table {
        let failure = Failure::of_status(&status, &endpoint());
        assert_eq!(failure.exit, exit, "{status:?}");
        let sentence = failure.sentence.unwrap();
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn an_alert_of_which_only_the_text_is_left_is_recognised() {
    for (name, part) in [("DecryptError", "another CA signed it"), ("CertificateExpired", "has expired")] {
        let error = io::Error::new(io::ErrorKind::InvalidData, format!("received fatal alert: {name}"));
        let status = with_source(Code::Unknown, error);
        assert!(!is_broken_connection(&status));
        let sentence = Failure::of_status(&status, &endpoint()).sentence.unwrap();
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn a_foreign_ca_is_told_from_a_wrong_port() {
    let table = [
        (rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), "another CA than `/id/ca.pem`"),
        (rustls::Error::InvalidCertificate(CertificateError::NotValidForName), "is not an imgctl coordinator"),
        (rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "doesn't speak TLS"),
    ];
    for (tls, part) in table {
        let status = with_source(Code::Unavailable, io::Error::other(tls));
        let sentence = Failure::of_status(&status, &endpoint()).sentence.unwrap();
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn only_what_may_pass_is_tried_again() {
    assert!(is_broken_connection(&Status::unavailable("x")));
    assert!(is_broken_connection(&with_source(Code::Internal, io::Error::from(io::ErrorKind::ConnectionReset))));
    for status in [
        alert(AlertDescription::CertificateExpired),
        Status::internal("internal error"),
        Status::not_found("x"),
        Status::permission_denied("x"),
    ] {
        assert!(!is_broken_connection(&status), "{status:?}");
    }
}

#[test]
fn a_missing_identity_says_who_makes_one() {
    let source = io::Error::from(io::ErrorKind::NotFound);
    let failure = Failure::of_tls(&TlsError::File { action: "read", path: "/id/cert.pem".into(), source }, &endpoint());
    assert_eq!(failure.exit, Exit::Refused);
    assert_eq!(failure.sentence.unwrap(), "no identity at `/id`: there is no `/id/cert.pem`");
    assert!(failure.hint.unwrap().contains("imgctl-coordinator init"));
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)), Failure::told(Exit::Done));
}
