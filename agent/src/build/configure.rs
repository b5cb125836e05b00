//! Stage `configure`: the files that every image gets (XCAT.md 6.5; what is Red Hat's alone is in [`redhat`]), secrets that no two
//! nodes may share taken out, and the choice of the kernel with newer drivers for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use model::plan::{Interfaces, PackageSystem};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::Outcome;
use super::context::{Context, State};
use super::drivers;
use super::failure::StageError;
use super::kernel;
use super::place::Place;
use super::redhat;
use crate::worker::report::StageLog;

const RESOLV_CONF: &str = "# Written at boot from what DHCP says.\n";

/// For `fsck` of a root on NFS, which some boot scripts ask for.
const FSCK_NFS: &str = "#!/bin/sh\nexit 0\n";

/// Host keys are a node's own: none is in the image, and each node makes its own at boot.
const KEYGEN_UNIT: &str = "[Unit]
Description=Make this node's own SSH host keys
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service ssh.socket sshd.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
";

/// Writes what belongs in every image.
pub fn run(context: &Context<'_>, state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    let place = Place::new(&context.root);
    file_systems(context, place)?;
    identity(place)?;
    host_keys(place, log)?;
    dot_files(place)?;
    let interfaces = &context.plan.interfaces;
    let files = match context.plan.packages {
        PackageSystem::Dnf { .. } => {
            redhat::configure(place, log)?;
            redhat::interfaces(place, interfaces)
        }
        PackageSystem::Apt { .. } | PackageSystem::Zypper => None,
    };
    match files {
        Some(files) => files.iter().try_for_each(|(name, text, mode)| place.write(name, text, *mode))?,
        None => network(place, interfaces, log)?,
    }
    if !place.has("usr/sbin/fsck.nfs") && !place.has("sbin/fsck.nfs") {
        place.write("sbin/fsck.nfs", FSCK_NFS, 0o755)?;
    }
    null_device(place)?;
    statelite_folders(place, context.plan.statelite_mode)?;
    only_kernel(context, state, log)
}

/// Chooses the kernel and takes in newer drivers for it; all else stays as it is in the tree.
pub fn only_kernel(context: &Context<'_>, state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    state.kernel = choose_kernel(context, Place::new(&context.root), log)?;
    drivers::run(context, state, log)?;
    Ok(Outcome::Done)
}

fn file_systems(context: &Context<'_>, place: Place<'_>) -> Result<(), StageError> {
    let there = place.text("etc/fstab");
    // A package that writes one knows better.
    if there.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        return Ok(());
    }
    place.write("etc/fstab", &fstab(&context.plan.profile, &context.plan.osarch), 0o644)
}

fn fstab(profile: &str, arch: &str) -> String {
    format!(
        "devpts  /dev/pts devpts   gid=5,mode=620 0 0\n\
         tmpfs   /dev/shm tmpfs    defaults       0 0\n\
         proc    /proc    proc     defaults       0 0\n\
         sysfs   /sys     sysfs    defaults       0 0\n\
         {profile}_{arch} / tmpfs rw 0 1\n"
    )
}

/// What would make two nodes one: host name, machine id, random seed, a password for root, the build node's name server.
fn identity(place: Place<'_>) -> Result<(), StageError> {
    place.write("etc/hostname", "", 0o644)?;
    if place.has("usr/bin/systemd-machine-id-setup") || place.has("etc/machine-id") {
        place.write("etc/machine-id", "", 0o444)?;
    }
    if place.has("var/lib/dbus/machine-id") {
        place.link("/etc/machine-id", "var/lib/dbus/machine-id")?;
    }
    place.remove("var/lib/systemd/random-seed")?;
    if !place.text("etc/resolv.conf").is_empty() {
        place.write("etc/resolv.conf", RESOLV_CONF, 0o644)?;
    }
    for name in ["etc/shadow", "etc/shadow-"] {
        lock_root(place, name)?;
    }
    Ok(())
}

/// Replaces root's password hash by `*`, leaving the file's owner and mode.
fn lock_root(place: Place<'_>, name: &str) -> Result<(), StageError> {
    let text = place.text(name);
    let locked = locked(&text);
    if locked == text {
        return Ok(());
    }
    let path = place.spot(name)?;
    fs::write(&path, locked).map_err(StageError::file("write", &path))
}

fn locked(shadow: &str) -> String {
    let lock = |line: &str| match line.strip_prefix("root:").and_then(|rest| rest.split_once(':')) {
        Some((_, rest)) => format!("root:*:{rest}"),
        None => line.to_owned(),
    };
    shadow.split('\n').map(lock).collect::<Vec<_>>().join("\n")
}

fn host_keys(place: Place<'_>, log: &StageLog<'_>) -> Result<(), StageError> {
    for name in place.names("etc/ssh", "ssh_host_") {
        place.remove(&format!("etc/ssh/{name}"))?;
        log.say(format!("removed /etc/ssh/{name}: nodes must not share it"));
    }
    // Red Hat's own sshd makes its keys by itself.
    let makes_keys = place.has("usr/lib/systemd/system/sshd-keygen@.service");
    if place.has("usr/sbin/sshd") && place.has("usr/bin/ssh-keygen") && !makes_keys {
        let unit = "etc/systemd/system/imgctl-ssh-keys.service";
        place.write(unit, KEYGEN_UNIT, 0o644)?;
        place
            .link("../imgctl-ssh-keys.service", "etc/systemd/system/multi-user.target.wants/imgctl-ssh-keys.service")?;
    }
    Ok(())
}

fn dot_files(place: Place<'_>) -> Result<(), StageError> {
    for name in place.names("etc/skel", ".") {
        let (skel, home) = (format!("etc/skel/{name}"), format!("root/{name}"));
        let plain = place.at(&skel).filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_file()));
        let Some(from) = plain.filter(|_| place.has("root") && !place.has(&home)) else { continue };
        let to = place.spot(&home)?;
        fs::copy(&from, &to).map_err(StageError::file("copy", &from))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644)).map_err(StageError::file("write", &to))?;
    }
    Ok(())
}

/// The interfaces that `nodebootif` and `otherifce` name, in the words of what the image configures them with.
fn network(place: Place<'_>, interfaces: &Interfaces, log: &StageLog<'_>) -> Result<(), StageError> {
    let boot = interfaces.boot.iter().map(|name| (name, true));
    let all: Vec<_> = boot.chain(interfaces.others.iter().map(|name| (name, false))).collect();
    if all.is_empty() {
        return Ok(());
    }
    let ifupdown = place.has("usr/sbin/ifup") || place.has("sbin/ifup");
    if !ifupdown && !place.has("usr/lib/systemd/systemd-networkd") && !place.has("lib/systemd/systemd-networkd") {
        log.say("nodebootif and otherifce are left alone: the image has no ifupdown, no NetworkManager and no systemd-networkd");
        return Ok(());
    }
    for (name, boots) in all {
        if ifupdown {
            place.write(&format!("etc/network/interfaces.d/{name}"), &ifupdown_text(name, boots), 0o644)?;
        } else {
            place.write(&format!("etc/systemd/network/10-{name}.network"), &networkd_text(name, boots), 0o644)?;
        }
    }
    Ok(())
}

/// The initrd has configured the boot interface already; it is described, not brought up again.
fn ifupdown_text(name: &str, boots: bool) -> String {
    if boots { format!("iface {name} inet dhcp\n") } else { format!("auto {name}\niface {name} inet dhcp\n") }
}

fn networkd_text(name: &str, boots: bool) -> String {
    let keep = if boots { "KeepConfiguration=yes\n" } else { "" };
    format!("[Match]\nName={name}\n\n[Network]\nDHCP=yes\n{keep}")
}

/// Where a statelite node keeps what is its own (XCAT.md 6.4 step 18). What mounts it there is the boot's work.
fn statelite_folders(place: Place<'_>, mode: Option<u32>) -> Result<(), StageError> {
    let Some(mode) = mode else { return Ok(()) };
    let own = place.folder(".statelite")?;
    fs::set_permissions(&own, fs::Permissions::from_mode(mode)).map_err(StageError::file("write", &own))?;
    [".sllocal/localmnt", ".sllocal/log"].into_iter().try_for_each(|name| place.folder(name).map(|_| ()))
}

fn null_device(place: Place<'_>) -> Result<(), StageError> {
    if place.has("dev/null") {
        return Ok(());
    }
    let path = place.spot("dev/null")?;
    let mode = Mode::from_raw_mode(0o666);
    let made = mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(1, 3)).map_err(std::io::Error::from);
    let made = made.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o666)));
    made.map_err(StageError::file("make", &path))
}

fn choose_kernel(context: &Context<'_>, place: Place<'_>, log: &StageLog<'_>) -> Result<String, StageError> {
    let found = kernel::scan(place, kernel::order(&context.plan.packages));
    found.halves.iter().for_each(|half| log.say(format!("passed over: {half}")));
    let chosen = kernel::choose(found, &context.plan.kernel).map_err(|error| match context.plan.wish.only_initrd {
        true => StageError { hint: kernel::ONLY_INITRD.to_owned(), ..error },
        false => error,
    })?;
    kernel::fits(&chosen)?;
    log.say(format!("kernel {} ({})", chosen.version, chosen.file.display()));
    let to = context.out.join("kernel");
    fs::copy(&chosen.file, &to).map_err(StageError::file("copy", &chosen.file))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o644)).map_err(StageError::file("write", &to))?;
    Ok(chosen.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_password_is_locked_and_no_other() {
        let shadow = "root:$y$abc:19000:0:99999:7:::\ndaemon:*:1:::\nrootless:x:1:::\n";
        assert_eq!(locked(shadow), "root:*:19000:0:99999:7:::\ndaemon:*:1:::\nrootless:x:1:::\n");
    }

    #[test]
    fn only_a_statelite_image_has_its_folders() {
        let image = tempfile::tempdir().unwrap();
        let place = Place::new(image.path());
        statelite_folders(place, None).unwrap();
        assert_eq!(fs::read_dir(image.path()).unwrap().count(), 0);
        statelite_folders(place, Some(0o750)).unwrap();
        let mode = image.path().join(".statelite").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o750);
        assert!(image.path().join(".sllocal/localmnt").is_dir() && image.path().join(".sllocal/log").is_dir());
    }

    #[test]
    fn the_root_line_names_profile_and_architecture() {
        assert_eq!(fstab("compute", "ppc64le").lines().last(), Some("compute_ppc64le / tmpfs rw 0 1"));
    }

    #[test]
    fn only_further_interfaces_are_brought_up() {
        assert!(!ifupdown_text("eth0", true).contains("auto"));
        assert!(ifupdown_text("eth1", false).starts_with("auto eth1\n"));
        assert!(networkd_text("eth0", true).contains("KeepConfiguration=yes"));
    }
}
