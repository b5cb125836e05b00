use super::*;
use model::arch::Arch;
use model::initrd::InitrdReport;
use model::stage::{Stage, StageRecord, StageStatus};
use model::wish::GenimageWish;

fn attempt() -> AttemptRecord {
    let mut stages = StageRecord::pending();
    stages[0].status = StageStatus::Done;
    stages[1] = StageRecord { stage: Stage::Packages, status: StageStatus::Failed, started_ms: 10, ended_ms: 20 };
    AttemptRecord {
        attempt: Attempt::FIRST,
        agent: "p9-01".parse().unwrap(),
        started_ms: 5,
        ended_ms: 21,
        stages,
        outcome: Some("failed in packages".into()),
        last_event: 4,
        staging: PathBuf::new(),
        published: None,
        emulated_on: Some("x86_64".into()),
    }
}

fn build(state: BuildState) -> Build {
    Build {
        id: BuildId::new(12).unwrap(),
        osimage: "compute".parse().unwrap(),
        revision: 3,
        arch: Arch::Ppc64le,
        needs: Needs {
            package_system: "dnf".into(),
            rpm_database: Some(RpmDatabase::Sqlite),
            osvers: "rhels9.4".into(),
            install: vec!["a script reads it".into()],
            agent: Some("p9-01".parse().unwrap()),
        },
        rootimgdir: "/install/netboot/compute".into(),
        part: Part::Both,
        pack: PackWish { method: "cpio".into(), compress: "gzip".into(), nosyncfiles: true },
        submitted_by: "ann".parse().unwrap(),
        submitted_ms: 1,
        ended_ms: 2,
        priority: -1,
        plan: Some("ab".into()),
        state,
        attempts: vec![attempt()],
        generation: Generation::new(7),
        artefacts: vec![Artefact {
            name: "kernel".into(),
            path: "/install/netboot/compute/kernel".into(),
            bytes: 9,
            digest: Some("sha256:ab".into()),
        }],
        cancel_by: None,
        genimage: GenimageWish {
            set: vec!["netdrivers=ice".into()],
            root_limit: Some("50%".parse().unwrap()),
            ignore_kernel_check: true,
            only_initrd: true,
        },
        initrds: vec![InitrdReport {
            name: "initrd-stateless.gz".into(),
            modules: 9,
            drivers: vec!["ice".into()],
            missing: vec!["tg3".into()],
        }],
        warnings: vec!["two osimages share it".into()],
    }
}

fn every_state() -> Vec<BuildState> {
    let agent: AgentName = "p9-01".parse().unwrap();
    let attempt = Attempt::FIRST;
    let generation = Generation::new(7).unwrap();
    let failure = Failure {
        stage: "packages".into(),
        cause: "no package `x`".into(),
        hint: Some("look at line 3".into()),
        last_lines: vec!["E: x".into()],
    };
    vec![
        BuildState::Queued,
        BuildState::Leased { agent: agent.clone(), attempt },
        BuildState::Running { agent, attempt, stage: Stage::Packages },
        BuildState::Received { generation },
        BuildState::Packing { generation },
        BuildState::Succeeded,
        BuildState::Failed { failure },
        BuildState::Cancelled { by: "bob".parse().unwrap() },
    ]
}

#[test]
fn a_build_in_every_state_survives_the_way_over_the_wire() {
    for state in every_state() {
        let build = build(state);
        assert_eq!(Build::try_from(v1::Build::from(build.clone())).unwrap(), build);
    }
}

#[test]
fn the_staging_folder_stays_with_the_coordinator() {
    let mut build = build(BuildState::Queued);
    build.attempts[0].staging = ".imgctl/staging/secret".into();
    let wire = v1::Build::from(build);
    assert!(!format!("{wire:?}").contains("secret"));
}

#[test]
fn a_violation_names_the_field_by_its_path() {
    type Damage = fn(&mut v1::Build);
    let table: [(Damage, &str); 8] = [
        (|wire| wire.id = 0, "id"),
        (|wire| wire.osimage = "a b".into(), "osimage"),
        (|wire| wire.part = 0, "part"),
        (|wire| wire.part = 99, "part"),
        (|wire| wire.state = None, "state"),
        (|wire| wire.state = Some(v1::BuildState { state: None }), "state.state"),
        (|wire| wire.attempts[0].stages[1].stage = "bake".into(), "attempts[0].stages[1].stage"),
        (|wire| wire.artefacts[0].name = String::new(), "artefacts[0].name"),
    ];
    for (damage, field) in table {
        let mut wire = v1::Build::from(build(BuildState::Succeeded));
        damage(&mut wire);
        assert_eq!(Build::try_from(wire).unwrap_err().field(), field);
    }
}
