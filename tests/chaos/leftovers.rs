//! Whether nothing is left over, and whether what nodes boot is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::processes;
use crate::story::Story;

/// How long clearing up may take on a loaded machine.
const CLEARED: Duration = Duration::from_secs(90);

/// What an idle daemon may hold: far more than it needs, and far less than a leak makes in a long run.
const DESCRIPTORS: usize = 100;
const MEMORY_KIB: u64 = 1 << 20;

/// Waits until everything is cleared away, and says what is not.
pub(crate) fn judge(cluster: &mut Cluster, story: &Story) {
    let deadline = Instant::now() + CLEARED;
    let mut left = remains(cluster);
    while !left.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
        left = remains(cluster);
    }
    left.into_iter().for_each(|what| story.wrong(format!("left over: {what}")));
    for (name, pid) in cluster.pids() {
        let (open, most) = processes::holds(pid);
        story.tell(format!("{name} holds {open} descriptors, and had at most {} MiB", most >> 10));
        if open > DESCRIPTORS || most > MEMORY_KIB {
            story.wrong(format!("{name} holds {open} descriptors, and had at most {most} KiB"));
        }
    }
}

fn remains(cluster: &mut Cluster) -> Vec<String> {
    let folder = cluster.folder().to_owned();
    let own: Vec<u32> = cluster.pids().into_iter().map(|(_, pid)| pid).collect();
    let is_own = |line: &String| own.iter().any(|pid| line.starts_with(&format!("{pid} ")));
    let mut found: Vec<String> = processes::at_work_in(&folder).into_iter().filter(|line| !is_own(line)).collect();
    let disks = ["coordinator", "install", "n1", "n2", "n3", "n1-scratch", "n2-scratch", "n3-scratch"];
    let disks: Vec<String> = disks.iter().map(|name| folder.join(name).display().to_string()).collect();
    found.extend(processes::mounts_below(&folder).into_iter().filter(|point| !disks.contains(point)));
    for name in cluster.names() {
        found.extend(names_in(&folder.join(format!("{name}-scratch"))));
        found.extend(names_in(&folder.join(&name).join("spool")));
        found.extend(names_in(&folder.join(&name).join("journal")));
    }
    found.extend(names_in(&folder.join("install/.imgctl/staging")));
    for dir in rootimgdirs(&folder.join("install")) {
        let generations = names_in(&dir.join(".generations"));
        found.extend(generations.into_iter().filter(|path| !path.rsplit('/').next().is_some_and(is_number)));
    }
    found
}

fn is_number(name: &str) -> bool {
    name.parse::<u32>().is_ok()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

fn rootimgdirs(install: &Path) -> Vec<PathBuf> {
    let below = |folders: Vec<PathBuf>| -> Vec<PathBuf> {
        folders.iter().flat_map(|folder| names_in(folder)).map(PathBuf::from).collect()
    };
    below(below(below(vec![install.join("netboot")])))
}

/// What each osimage has live must be the newest that a build made, and whole.
pub(crate) fn live(cluster: &Cluster, images: &[String], builds: &[Value], story: &Story) {
    for image in images {
        let of_image = builds.iter().filter(|build| build["osimage"] == image.as_str());
        let newest = of_image
            .filter(|build| build["state"]["name"] == "succeeded" && build["part"] != "genimage")
            .filter_map(|build| build["generation"].as_u64())
            .max();
        let listed = cluster.site().cli.json(&format!("generations list {image}"));
        let all = listed.as_array().map(Vec::as_slice).unwrap_or_default();
        let live = all.iter().find(|generation| generation["live"] == true);
        match (newest, live) {
            (None, None) => {}
            (newest, Some(live)) if live["number"].as_u64() >= newest => whole(image, live, newest.is_some(), story),
            (newest, live) => {
                story.wrong(format!("{image}: generation {newest:?} was made last, and {live:?} is live"));
            }
        }
    }
}

/// `is_packed`: a build made an archive of it, or of an earlier one.
fn whole(image: &str, generation: &Value, is_packed: bool, story: &Story) {
    let path = PathBuf::from(generation["path"].as_str().unwrap_or_default());
    let current = path.join("../../current");
    if fs::canonicalize(&current).ok() != fs::canonicalize(&path).ok() {
        story.wrong(format!("{image}: `current` does not lead to {}", path.display()));
    }
    // While none is packed, the newest built one is live.
    let archive = (is_packed || generation["state"] != "built").then_some("rootimg.cpio.gz");
    for name in ["kernel", "initrd-stateless.gz", "initrd-statelite.gz"].into_iter().chain(archive) {
        let file = current.join(name);
        let recorded =
            generation["artefacts"].as_array().into_iter().flatten().find(|artefact| artefact["name"] == name);
        let digest = recorded.and_then(|artefact| artefact["digest"].as_str()).unwrap_or_default();
        if digest != sha256(&file) {
            story.wrong(format!("{image}: {} has not the recorded digest {digest:?}", file.display()));
        }
        let tested = Command::new("gzip").arg("-t").arg(&file).output().expect("there is a gzip");
        if name.ends_with(".gz") && !tested.status.success() {
            story.wrong(format!(
                "{image}: {} is not whole: {}",
                file.display(),
                String::from_utf8_lossy(&tested.stderr)
            ));
        }
    }
    if !current.join("rootimg/usr/bin").is_dir() {
        story.wrong(format!("{image}: the tree in {} has no /usr/bin", path.display()));
    }
}

fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().expect("there is a sha256sum");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(' ').next().map(|digest| format!("sha256:{digest}")).unwrap_or_default()
}
