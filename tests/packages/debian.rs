//! The .debs in a small Debian of the machine's own release.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use tests::{debian, el9, mirrors};

use super::dnf::said;
use super::made::{NEXT, version};
use super::root::{Root, is_installed, is_kept, is_removed, is_used, listed};

/// A Debian with dpkg and systemd, made once a machine; as old as the machine's cache.
fn archive() -> PathBuf {
    let (codename, _) = debian();
    let (mirrors, cache) = (mirrors(), el9::cache_folder());
    let digest = hex::encode(Sha256::digest(format!("{codename} {mirrors} systemd")));
    let archive = cache.join(format!("debian-{}.tar", &digest[..16]));
    fs::create_dir_all(&cache).expect("the cache can be made");
    let lock = File::create(cache.join("debian-lock")).expect("the cache can be written");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock can be had");
    if !archive.exists() {
        let making = cache.join(".making-debian.tar");
        let sources = mirrors.split(',').map(|mirror| format!("deb {mirror}"));
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=minbase", "--include=systemd", &codename]).arg(&making).args(sources);
        said(&mut command).done();
        fs::rename(&making, &archive).expect("the cache can be written");
    }
    archive
}

fn unpack(archive: &Path, folder: &Path) -> Root {
    let root = folder.join("root");
    fs::create_dir(&root).expect("the folder can be written");
    said(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&root)).done();
    Root(root)
}

#[test]
fn debs_are_installed_upgraded_and_removed() {
    let folder = tempfile::Builder::new().prefix("imgctl-debian-").tempdir_in("/var/tmp").expect("there is room");
    let root = unpack(&archive(), folder.path());
    root.sh(&format!("dpkg -i {}", listed(|packages, name| packages.deb(name, version())))).done();
    is_installed(&root);
    assert_eq!(root.sh("dpkg --verify imgctl imgctl-agent imgctl-coordinator").done(), "");

    is_used(&root);
    // As somebody may have left it who installed by hand before.
    root.sh("touch /etc/systemd/system/imgctl-agent.service").done();
    let told = root.sh(&format!("dpkg -i {}", listed(|packages, name| packages.deb(name, NEXT)))).done();
    assert_eq!(told.matches("is used instead of the packaged unit").count(), 1, "{told}");
    root.sh("rm /etc/systemd/system/imgctl-agent.service").done();
    assert_eq!(root.sh("dpkg-query -W -f '${Version}' imgctl-agent").done(), NEXT);
    is_kept(&root);

    root.sh("dpkg --remove imgctl imgctl-agent imgctl-coordinator").done();
    is_removed(&root);
    assert!(root.text("/etc/imgctl/agent.toml").ends_with("\nslots = 2\n"));

    // A purge leaves the CA alone, and nothing of the agent.
    let told = root.sh("dpkg --purge imgctl imgctl-agent imgctl-coordinator").done();
    assert!(told.contains("/var/lib/imgctl (CA, definitions, logs) is kept"), "{told}");
    assert!(root.has("/var/lib/imgctl/pki") && root.has("/etc/imgctl/coordinator.toml"));
    assert!(!root.has("/var/lib/imgctl-agent") && !root.has("/etc/imgctl/agent.toml"));
    assert_eq!(
        root.sh("dpkg-query -W -f '${Package} ${Status}\\n' 'imgctl*' 2>&1 || :").done().matches("installed").count(),
        0
    );
}
