//! ppc64le on a machine of another architecture: an agent of the machine itself that runs the image's programs under qemu-user,
//! then the agent as a ppc64le program, each with one build; and what is said of emulation before it begins.
//!
//! One test and one site, as each step needs the one before. Emulation is slow: this is minutes of processor time, so the
//! packages are thinned ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use model::emulation::SLOWER;
use serde_json::Value;
use tests::packages::{self, Packages};
use tests::{AgentOptions, Site, Web, arch, debian, eventually, text, took};

use crate::binfmt::Registered;

/// How long a build may take: on a core that nobody else uses it takes a few minutes.
const BUILT: Duration = Duration::from_secs(3600);

const ARCH: &str = "ppc64le";

const ALLOWED: &str = "allow_emulation = [\"ppc64el\"]\nmin_scratch_free = 1500000000\n";

#[test]
fn an_agent_of_ppc64le_under_emulation_builds_and_says_so() {
    // Dropped last: the agent is one of those programs.
    let _registered = Registered::new();
    // Minutes, the first time.
    let program = std::thread::spawn(cross_compiled);
    let mut site = Site::start();
    define(&site, "far", ARCH);

    it_is_refused_where_nobody_may_emulate(&mut site);
    an_x86_64_agent_whose_emulation_does_not_work_says_what_to_do(&mut site);
    an_x86_64_agent_that_may_emulate_is_said_to(&site);
    it_builds(&site, "genimage", 1, "x1");
    what_it_left_says_how_it_was_built(&site, "x1", 1);
    site.agent_daemon("x1").stop();
    site.cli.ok("agents rm x1");
    let program = program.join().expect("it compiles");
    the_emulated_agent_says_so_and_needs_to_be_allowed(&mut site, &program);
    it_builds(&site, "build", 2, "p1");
    what_it_left_says_how_it_was_built(&site, "p1", 2);
    nodes_can_boot_it(&site);
    it_is_slower_than_a_native_build(&mut site);
}

/// The agent's program for ppc64le, without shared libraries.
fn cross_compiled() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = root.join("target/emulated");
    let script = root.join("deploy/dist/programs.sh");
    // It ends with this thread's process. The node beside it is a machine with clocks, which must go on.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"]);
    command.args(["--kill-child", "--mount-proc", "--", "nice"]).arg(script);
    command.arg("powerpc64le").arg(&out).arg("imgctl-agent").env("PROFILE", "quick").stdout(Stdio::null());
    let status = command.status().expect("there is bash");
    assert!(status.success(), "deploy/dist/programs.sh ended with {status}");
    out.join("imgctl-agent")
}

fn define(site: &Site, name: &str, arch: &str) {
    let (codename, version) = debian();
    let list = site.write(&format!("lists/{name}.pkglist"), &packages::pkglist(arch));
    let packages = Web::serve(&packages::repository(&codename, arch, Packages::Thin)).url("");
    let (osvers, osarch) = (format!("osvers=debian{version}"), format!("osarch={arch}"));
    let (pkgdir, list) = (format!("pkgdir=[trusted=yes] {packages} ./"), format!("pkglist={}", list.display()));
    let args = ["osimage", "create", name, "provmethod=netboot", &osarch, "profile=far"];
    let more = [osvers.as_str(), &pkgdir, &list, "environvar=no_proxy=127.0.0.1"];
    site.cli.run_args(&args.into_iter().chain(more).collect::<Vec<_>>(), b"").succeeded();
}

fn it_is_refused_where_nobody_may_emulate(site: &mut Site) {
    site.agent("x1");
    site.cli.run("build far --dryrun").exited(3).says("no agent of architecture ppc64le has joined");
    assert_eq!(agent(site, "x1")["facts"]["emulations"].as_array().map(Vec::len), Some(0));
}

fn an_x86_64_agent_whose_emulation_does_not_work_says_what_to_do(site: &mut Site) {
    let without_f = Registered::with("");
    let options = AgentOptions { config: ALLOWED.to_owned(), ..AgentOptions::default() };
    site.agent_daemon("x1").stop();
    site.agent_config("x1", &options);
    site.start_agent("x1");
    let fault = &agent(site, "x1")["facts"]["emulations"][0]["fault"];
    assert_eq!(fault["name"], "emulation-no-f-flag", "{fault}");
    let ran = site.cli.run("build far --dryrun").succeeded();
    assert!(ran.out.contains("without the flag F"), "{}", ran.out);
    drop(without_f);
    site.agent_daemon("x1").stop();
    site.start_agent("x1");
}

fn an_x86_64_agent_that_may_emulate_is_said_to(site: &Site) {
    assert_eq!(agent(site, "x1")["facts"]["emulations"], serde_json::json!([{ "arch": "ppc64le" }]));
    let listed = site.cli.ok("agents list");
    assert!(listed.contains("ppc64le (emulated)"), "{listed}");
    let ran = site.cli.run("build far --dryrun").succeeded();
    assert!(ran.out.contains("fits, under emulation on x86_64"), "{}", ran.out);
    ran.says("warning: far: no native agent of ppc64le is known; x1 would build it under emulation on x86_64");
}

fn the_emulated_agent_says_so_and_needs_to_be_allowed(site: &mut Site, program: &Path) {
    let options = AgentOptions { program: Some(program.to_owned()), ..AgentOptions::default() };
    site.agent_with("p1", options);
    let log = site.agent_daemon("p1").log();
    assert!(log.contains("runs under emulation on x86_64"), "{log}");
    let shown = site.cli.ok("agents show p1");
    assert!(shown.contains("ppc64le, under emulation on x86_64"), "{shown}");
    let ran = site.cli.run("build far --dryrun").succeeded();
    assert!(ran.out.contains("allow_emulation = [\"ppc64le\"]"), "{}", ran.out);
    site.agent_daemon("p1").stop();
    site.agent_config("p1", &AgentOptions { config: ALLOWED.to_owned(), ..AgentOptions::default() });
    site.start_agent("p1");
}

fn it_builds(site: &Site, verb: &str, id: u64, agent: &str) {
    let said = format!("{agent} would build it under emulation on x86_64");
    site.cli.run(&format!("{verb} far --detach")).succeeded().says(&said);
    let build = eventually("the build to end", BUILT, || {
        std::thread::sleep(Duration::from_secs(1));
        let build = site.cli.json(&format!("builds show {id}"));
        ["succeeded", "failed", "cancelled"].contains(&text(&build["state"], "name")).then_some(build)
    });
    let log = site.cli.ok(&format!("builds logs {id}"));
    let tail: Vec<&str> = log.lines().rev().take(40).collect();
    assert_eq!(build["state"]["name"], "succeeded", "{build:#}\n{tail:#?}");
    assert_eq!(build["attempts"][0]["emulated_on"], "x86_64");
    let second = log.lines().nth(1).unwrap_or_default();
    assert!(second.starts_with("warning: built under emulation: programs of ppc64le ran on x86_64"), "{second}");
    let warnings = build["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|one| one.as_str().is_some_and(|one| one.contains(SLOWER))), "{warnings:?}");
    site.scratch_is_cleared(agent);
}

fn what_it_left_says_how_it_was_built(site: &Site, agent: &str, generation: u32) {
    let dir = site.rootimgdir_of("far", ARCH).join(format!(".generations/{generation}"));
    let record = fs::read_to_string(dir.join("build.json")).expect("there is a record");
    let record: Value = serde_json::from_str(&record).expect("it is JSON");
    assert_eq!(record["emulation"]["on"], "x86_64");
    // Its own emulation is another thing than that of the image's programs.
    let (arch, emulated_on) = if agent == "x1" { ("x86_64", Value::Null) } else { (ARCH, "x86_64".into()) };
    assert_eq!((&record["agent"]["arch"], &record["agent"]["emulated_on"]), (&arch.into(), &emulated_on));
    let program = fs::read(dir.join("rootimg/bin/true")).expect("the image has programs");
    assert_eq!((program[5], program[18]), (1, 21), "they are of ppc64le");
}

fn nodes_can_boot_it(site: &Site) {
    let dir = site.rootimgdir_of("far", ARCH);
    let manifest = fs::read_to_string(dir.join("current/manifest.json")).expect("there is a manifest");
    assert!(
        manifest.lines().next().is_some_and(|head| head.contains("\"emulated_on\":\"x86_64\"")),
        "its head says so"
    );
    let generation = site.cli.json("generations show far 2");
    assert_eq!(generation["emulated_on"], "x86_64");
    assert!(dir.join("rootimg.cpio.gz").exists() && dir.join("initrd-stateless.gz").exists());
}

/// The same packages of the machine's own architecture; says how much slower each stage was.
fn it_is_slower_than_a_native_build(site: &mut Site) {
    site.agent_daemon("p1").stop();
    define(site, "near", arch());
    site.agent("x2");
    site.cli.ok("genimage near");
    for stage in ["packages", "initrd"] {
        let [emulated, native] = [2, 3].map(|id| took(&site.cli.json(&format!("builds show {id}")), stage));
        println!("{stage}: {emulated:.1} s emulated, {native:.1} s native, {:.1} times", emulated / native);
        assert!(emulated > native, "the native {stage} took {native:.1} s, the emulated one {emulated:.1} s");
    }
}

fn agent(site: &Site, name: &str) -> Value {
    let agents = site.cli.json("agents list");
    let found = agents.as_array().and_then(|all| all.iter().find(|agent| text(agent, "name") == name).cloned());
    found.unwrap_or_else(|| panic!("no agent {name} in {agents}"))
}
