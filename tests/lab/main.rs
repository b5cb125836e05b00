//! `make lab`, `make lab-faults`, `make lab-rpm`, `make lab-bench`: build nodes of two architectures with real kernels, on one machine.
//!
//! What a run has done it doesn't do again: it is noted in the state folder ($LAB_STATE, else /var/tmp/imgctl-lab or the like), with
//! the nodes' disks and the coordinator's store; `lab-bench` alone begins anew each time. `STAGE=name` does that stage alone, again; removing the folder begins
//! anew.

mod bench;
mod builds;
mod exports;
mod rpm;
mod site;
mod stages;
mod state;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use tests::arch;
use tests::lab::{Mn, MnOptions, apart, disk, lay_packages};

use stages::{Lab, Stage};
use state::State;

/// Outages of half a minute are to cost nothing but time.
const CONFIG: &str = "lease_seconds = 60\n";

/// The architectures of the nodes: this machine's own and the other.
pub(crate) const ARCHES: [&str; 2] = ["x86_64", "ppc64le"];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let suite = arguments.next().unwrap_or_else(|| "lab".to_owned());
    if suite == "on" {
        return site::on(&folder_of("site"), &arguments.collect::<Vec<_>>());
    }
    assert_eq!(arch(), "x86_64", "the lab's own machine is x86_64");
    if suite == "site" {
        return site(&State::open(&folder_of(&suite)));
    }
    let Some(stages) = stages::of(&suite) else {
        eprintln!("usage: lab [lab|faults|rpm|bench|site], or lab on NODE 'COMMAND'");
        return ExitCode::from(2);
    };
    let wanted = std::env::var("STAGE").ok().filter(|name| !name.is_empty());
    if let Some(unknown) = wanted.as_ref().filter(|name| !stages.iter().any(|stage| stage.name == name.as_str())) {
        let names: Vec<&str> = stages.iter().map(|stage| stage.name).collect();
        eprintln!("there is no stage {unknown}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let state = State::open(&folder_of(&suite));
    if suite == "bench" && !apart::is_inside() {
        // Figures are of one run, and of the programs that are here now.
        state.begin_anew();
    }
    let todo: Vec<&Stage> = stages.iter().filter(|stage| is_to_run(stage, &state, wanted.as_deref())).collect();
    let arches: Vec<&str> =
        ARCHES.into_iter().filter(|arch| todo.iter().any(|stage| stage.arches.contains(arch))).collect();
    if apart::is_inside() {
        inside(&state, &todo, &arches);
        return ExitCode::SUCCESS;
    }
    for stage in &stages {
        if let (None, Some(took)) = (&wanted, state.took(stage.name)) {
            println!("{}: {took:.0} s, in an earlier run", stage.name);
        }
    }
    if todo.is_empty() {
        println!("every stage is done; remove {} to begin anew", state.folder().display());
        return ExitCode::SUCCESS;
    }
    outside(&state, &suite, &arches)
}

fn is_to_run(stage: &Stage, state: &State, wanted: Option<&str>) -> bool {
    wanted.map_or_else(|| state.took(stage.name).is_none(), |name| name == stage.name)
}

/// Two bare nodes, for whoever looks at them.
fn site(state: &State) -> ExitCode {
    if apart::is_inside() {
        site::open(state);
        return ExitCode::SUCCESS;
    }
    outside(state, "site", &ARCHES)
}

/// Where a suite keeps what the next run goes on with.
fn folder_of(suite: &str) -> PathBuf {
    let own = if suite == "lab" { "/var/tmp/imgctl-lab".to_owned() } else { format!("/var/tmp/imgctl-lab-{suite}") };
    std::env::var_os("LAB_STATE").map_or_else(|| own.into(), PathBuf::from)
}

/// What needs a mirror, and then everything else in namespaces of its own.
fn outside(state: &State, suite: &str, arches: &[&str]) -> ExitCode {
    let began = Instant::now();
    for arch in arches {
        disk(arch);
        lay_packages(&state.folder().join("install"), arch);
    }
    if suite == "rpm" {
        rpm::lay(&state.folder().join("install"));
    }
    println!("prepare: {:.0} s (disks of the nodes, packages)", began.elapsed().as_secs_f64());
    let status = apart::run_inside(&[suite.into()]);
    println!("everything of this run lies in {}", state.folder().display());
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn inside(state: &State, todo: &[&Stage], arches: &[&str]) {
    let began = Instant::now();
    let options = MnOptions { folder: Some(state.folder().to_owned()), config: CONFIG.into() };
    let mut lab = Lab::start(Mn::start(options), arches);
    println!("nodes: {:.0} s (booted, agents connected)", began.elapsed().as_secs_f64());
    for stage in todo {
        println!("{} begins: {}", stage.name, stage.what);
        let began = Instant::now();
        (stage.run)(&mut lab);
        let took = began.elapsed().as_secs_f64();
        state.done(stage.name, took);
        println!("{}: {took:.0} s", stage.name);
    }
    println!("all of it: {:.0} s", began.elapsed().as_secs_f64());
}
