use super::*;

fn agent() -> AgentName {
    "n1".parse().unwrap()
}

fn attempt(number: u32) -> Attempt {
    Attempt::new(number).unwrap()
}

fn failure() -> Failure {
    Failure { stage: "packages".into(), cause: "no".into(), hint: None, last_lines: Vec::new() }
}

/// One state of each kind; those with a lease hold attempt 2.
fn states() -> Vec<BuildState> {
    let generation = Generation::FIRST;
    vec![
        BuildState::Queued,
        BuildState::Leased { agent: agent(), attempt: attempt(2) },
        BuildState::Running { agent: agent(), attempt: attempt(2), stage: Stage::Packages },
        BuildState::Received { generation },
        BuildState::Packing { generation },
        BuildState::Succeeded,
        BuildState::Failed { failure: failure() },
        BuildState::Cancelled { by: "root".parse().unwrap() },
    ]
}

/// One event of each kind, by name; those of an attempt come from the number given.
fn events(number: u32) -> Vec<(&'static str, BuildEvent)> {
    let (attempt, generation) = (attempt(number), Generation::FIRST);
    vec![
        ("leased", BuildEvent::Leased { agent: agent(), attempt }),
        ("stage", BuildEvent::StageStarted { attempt, stage: Stage::Initrd }),
        ("lost", BuildEvent::Lost { attempt, failure: failure(), again: true }),
        ("lost for good", BuildEvent::Lost { attempt, failure: failure(), again: false }),
        ("received", BuildEvent::Received { attempt, generation }),
        ("packing", BuildEvent::Packing { generation }),
        ("finished", BuildEvent::Finished),
        ("failed", BuildEvent::Failed { attempt: Some(attempt), failure: failure() }),
        ("failed here", BuildEvent::Failed { attempt: None, failure: failure() }),
        ("cancelled", BuildEvent::Cancelled { by: "root".parse().unwrap() }),
    ]
}

/// What every state becomes on every event of the attempt that holds the lease; `-` is a refusal.
const TABLE: [(&str, [&str; 10]); 8] = [
    // state       leased    stage      lost      lost for good received   packing   finished    failed   failed here cancelled
    ("queued", ["leased", "-", "-", "-", "-", "packing", "-", "-", "failed", "cancelled"]),
    ("leased", ["-", "running", "queued", "failed", "received", "-", "-", "failed", "failed", "cancelled"]),
    ("running", ["-", "running", "queued", "failed", "received", "-", "-", "failed", "failed", "cancelled"]),
    ("received", ["-", "-", "-", "-", "-", "packing", "succeeded", "-", "failed", "cancelled"]),
    ("packing", ["-", "-", "-", "-", "-", "-", "succeeded", "-", "failed", "cancelled"]),
    ("succeeded", ["-"; 10]),
    ("failed", ["-"; 10]),
    ("cancelled", ["-"; 10]),
];

#[test]
fn every_pair_of_state_and_event_goes_where_the_table_says() {
    for (state, (word, row)) in states().iter().zip(TABLE) {
        assert_eq!(state.word(), word);
        for ((name, event), expected) in events(2).into_iter().zip(row) {
            let next = state.on(event);
            let got = next.as_ref().map_or("-", BuildState::word);
            assert_eq!(got, expected, "{word} on {name}");
        }
    }
}

#[test]
fn an_older_or_unknown_attempt_changes_nothing() {
    let of_an_attempt = ["stage", "lost", "lost for good", "received", "failed"];
    for state in states().iter().filter(|state| state.lease().is_some()) {
        for number in [1, 3] {
            for (name, event) in events(number).into_iter().filter(|(name, _)| of_an_attempt.contains(name)) {
                let refusal = state.on(event).unwrap_err();
                assert_eq!(refusal, Refusal::WrongAttempt { got: attempt(number) }, "{} on {name}", state.word());
            }
        }
    }
}

#[test]
fn a_final_state_says_that_it_is_final() {
    for state in states().into_iter().filter(BuildState::is_final) {
        for (name, event) in events(2) {
            assert_eq!(state.on(event), Err(Refusal::Final), "{} on {name}", state.word());
        }
    }
}

#[test]
fn packing_another_generation_than_the_received_one_is_refused() {
    let received = BuildState::Received { generation: Generation::FIRST };
    let refusal = received.on(BuildEvent::Packing { generation: Generation::FIRST.next() });
    assert_eq!(refusal, Err(Refusal::OutOfOrder { state: "received", event: "packing" }));
}

#[test]
fn a_build_in_every_state_is_read_back_as_it_was_written() {
    for state in states() {
        let build = Build {
            id: BuildId::FIRST,
            osimage: "compute".parse().unwrap(),
            revision: 1,
            arch: Arch::Ppc64le,
            needs: Needs::default(),
            rootimgdir: "/install/x".into(),
            part: Part::Both,
            pack: PackWish::default(),
            genimage: GenimageWish::default(),
            submitted_by: "root".parse().unwrap(),
            submitted_ms: 1,
            ended_ms: 2,
            priority: 0,
            plan: None,
            state,
            attempts: Vec::new(),
            generation: Some(Generation::FIRST),
            artefacts: Vec::new(),
            warnings: Vec::new(),
            initrds: Vec::new(),
            cancel_by: None,
        };
        let json = serde_json::to_string(&build).unwrap();
        assert_eq!(serde_json::from_str::<Build>(&json).unwrap(), build, "{json}");
    }
}
