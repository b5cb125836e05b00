//! The chaos run: a site of real daemons at real work, faults drawn from a seed, and a judgement at the end.
//!
//! While users queue, follow and cancel builds ([`load`]), daemons and workers are killed, networks cut and disks
//! filled ([`storm`]). Then everything is healed, the queue drains, and every build must have one verdict that stays
//! and that a fault explains if it is a bad one ([`verdicts`]), every log must be whole ([`logs`]), what nodes boot must
//! be whole, and nothing may be left over ([`leftovers`]).
//!
//! `make chaos SEED=… MINUTES=…` runs it with a seed and for longer.

mod apart;
mod call;
mod cluster;
mod dice;
mod disk;
mod fault;
mod leftovers;
mod load;
mod logs;
mod processes;
mod proxy;
mod script;
mod settings;
mod storm;
mod story;
mod verdicts;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::packages::{self, Packages};
use tests::{Web, arch, debian};

use cluster::Cluster;
use dice::Dice;
use disk::Disk;
use load::{Load, Seen};
use settings::Settings;
use storm::Storm;
use story::Story;

/// How long what is queued may take when everything is well again.
const DRAINED: Duration = Duration::from_secs(240);

/// Osimages to build; each has one build at a time.
const IMAGES: usize = 5;

#[test]
fn every_build_ends_once_whatever_happens() {
    let Some(folder) = apart::folder() else {
        return apart::run_inside("every_build_ends_once_whatever_happens");
    };
    let settings = Settings::read();
    println!("chaos: SEED={} for {:.1} minutes", settings.seed, settings.length.as_secs_f64() / 60.0);
    let wrongs = run(settings, &folder);
    let seed = settings.seed;
    assert!(wrongs.is_empty(), "SEED={seed}: {} things went wrong:\n{}", wrongs.len(), wrongs.join("\n"));
}

fn run(settings: Settings, folder: &Path) -> Vec<String> {
    Disk::mount(folder, 1024);
    let story = Story::begin(folder, settings.is_shown);
    let repository = packages::repository(&debian().0, arch(), Packages::Thin);
    let mut cluster = Cluster::start(folder, &story);
    let images = define(&cluster, &Web::serve(&repository).url(""));
    story.tell("the site stands");
    let load = load(&cluster, &images, settings.seed, &story);
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let at_work = std::thread::spawn(move || load.work(&told));
    Storm::new(&mut cluster, &story).rage(Dice::new(settings.seed, 1), settings.length);
    stop.store(true, Ordering::Relaxed);
    let mut load = at_work.join().expect("the users don't panic");
    drain(&mut cluster, &mut load, &story);
    judge(&mut cluster, load, &images, &story);
    let wrongs = story.wrongs();
    if !wrongs.is_empty() {
        keep_logs(folder, settings.seed, &story);
    }
    wrongs
}

/// The osimages: all of the same packages, and each with a rootimgdir of its own.
fn define(cluster: &Cluster, repository: &str) -> Vec<String> {
    let site = cluster.site();
    let list = site.write("lists/chaos.pkglist", &packages::pkglist(arch()));
    let script = site.write("scripts/chaos.pl", script::SCRIPT);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let (_, version) = debian();
    let names: Vec<String> = (1..=IMAGES).map(|number| format!("c{number}")).collect();
    for name in &names {
        let attributes = [
            format!("provmethod=netboot osvers=debian{version} osarch={} profile={name}", arch()),
            format!("pkglist={}", list.display()),
        ];
        let attributes = attributes.join(" ");
        let pkgdir = format!("pkgdir=[trusted=yes] {repository} ./");
        let postinstall = format!("postinstall={} {}", script.display(), script::LINES);
        let mut args = vec!["osimage", "create", name];
        args.extend(attributes.split(' '));
        args.extend([pkgdir.as_str(), &postinstall, "environvar=no_proxy=127.0.0.1"]);
        site.cli.run_args(&args, b"").succeeded();
    }
    names
}

fn load(cluster: &Cluster, images: &[String], seed: u64, story: &Story) -> Load {
    Load {
        cli: cluster.users(),
        images: images.to_vec(),
        dice: Dice::new(seed, 2),
        story: story.clone(),
        folder: cluster.folder().to_owned(),
        seen: Seen::default(),
        following: Vec::new(),
        calls: 0,
    }
}

/// Waits until no build is left that has not ended, and no follower.
fn drain(cluster: &mut Cluster, load: &mut Load, story: &Story) {
    let deadline = Instant::now() + DRAINED;
    loop {
        cluster.tick();
        let builds = load.look();
        load.gather();
        let is_over = builds.is_some_and(|builds| builds.iter().all(load::is_final)) && load.following.is_empty();
        if is_over {
            return story.tell("the queue is empty");
        }
        if Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    story.wrong(format!("the queue is not empty after {DRAINED:?}"));
    story.tell(cluster.site().cli.run("builds list --active").out);
    for call in &mut load.following {
        story.wrong(format!("`imgctl {}` has not ended", call.words));
        call.kill();
    }
}

fn judge(cluster: &mut Cluster, mut load: Load, images: &[String], story: &Story) {
    leftovers::judge(cluster, story);
    // What is recorded is on disk: the same after one more restart.
    cluster.end_coordinator(fault::End::Kill, Duration::ZERO);
    while !cluster.is_up() {
        cluster.tick();
    }
    let deadline = Instant::now() + DRAINED;
    let builds = loop {
        match load.look() {
            Some(builds) => break builds,
            None => assert!(Instant::now() < deadline, "the coordinator does not answer"),
        }
    };
    verdicts::judge(&builds, &load.seen, story);
    let cli = &cluster.site().cli;
    logs::judge(cli, &builds, &load.seen, story);
    leftovers::live(cluster, images, &builds, story);
    story.tell("what is live is whole");
}

/// The daemons' own logs, to look at after a run that went wrong.
fn keep_logs(folder: &Path, seed: u64, story: &Story) {
    let kept = std::env::temp_dir().join(format!("imgctl-chaos-{seed}"));
    fs::create_dir_all(&kept).expect("a folder");
    for entry in fs::read_dir(folder).expect("it is ours").flatten() {
        if entry.path().extension().is_some_and(|end| end == "log") {
            fs::copy(entry.path(), kept.join(entry.file_name())).expect("a copy");
        }
    }
    story.tell(format!("the daemons' logs are kept in {}", kept.display()));
}
