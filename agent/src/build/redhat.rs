//! What an image of Red Hat's family wants besides what every image gets (XCAT.md 6.4 step 15, 6.5). Called by
//! [`super::configure`].

use std::path::Path;

use model::plan::Interfaces;

use super::failure::StageError;
use super::place::Place;
use crate::worker::report::StageLog;

/// How the repository files begin that the distributions' own release packages bring; all of them point at the
/// internet.
const RELEASE_FILES: [&str; 10] =
    ["rocky", "Rocky", "almalinux", "centos", "CentOS", "oracle", "public-yum-ol", "uek-ol", "fedora", "redhat"];

const RESOLV_CONF: &str = "# Written at boot from what DHCP says.\n";

/// Writes it all.
pub fn configure(place: Place<'_>, log: &StageLog<'_>) -> Result<(), StageError> {
    network_on(place)?;
    if !place.has("etc/resolv.conf") {
        place.write("etc/resolv.conf", RESOLV_CONF, 0o644)?;
    }
    serial_consoles(place)?;
    selinux(place, log)?;
    close_internet_repositories(place, log)
}

fn network_on(place: Place<'_>) -> Result<(), StageError> {
    let text = place.text("etc/sysconfig/network");
    if text.lines().any(|line| line.trim_start().starts_with("NETWORKING=")) {
        return Ok(());
    }
    place.write("etc/sysconfig/network", &format!("{text}NETWORKING=yes\n"), 0o644)
}

/// Only EL 7 has the file: root may log in there.
fn serial_consoles(place: Place<'_>) -> Result<(), StageError> {
    if !place.has("etc/securetty") {
        return Ok(());
    }
    let text = place.text("etc/securetty");
    let missing = ["ttyS0", "ttyS1"].into_iter().filter(|tty| !text.lines().any(|line| line.trim() == *tty));
    let more: String = missing.map(|tty| format!("{tty}\n")).collect();
    if more.is_empty() { Ok(()) } else { place.write("etc/securetty", &(text + &more), 0o600) }
}

/// The archive that nodes boot carries no labels, so an enforcing policy would lock everybody out.
fn selinux(place: Place<'_>, log: &StageLog<'_>) -> Result<(), StageError> {
    let text = place.text("etc/selinux/config");
    let without = without_selinux(&text);
    if without == text {
        return Ok(());
    }
    log.say("SELinux is disabled in etc/selinux/config: the image is packed without labels");
    place.write("etc/selinux/config", &without, 0o644)
}

fn without_selinux(config: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix("SELINUX=") {
        Some(_) => "SELINUX=disabled".to_owned(),
        None => line.to_owned(),
    };
    config.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn close_internet_repositories(place: Place<'_>, log: &StageLog<'_>) -> Result<(), StageError> {
    let is_release =
        |name: &String| name.ends_with(".repo") && RELEASE_FILES.iter().any(|front| name.starts_with(front));
    for name in place.names("etc/yum.repos.d", "").into_iter().filter(is_release) {
        let path = format!("etc/yum.repos.d/{name}");
        let text = place.text(&path);
        let closed = closed(&text);
        if closed != text {
            place.write(&path, &closed, 0o644)?;
            log.say(format!("the internet's repositories in /{path} are disabled"));
        }
    }
    Ok(())
}

/// Every section with `enabled=0`; one that doesn't say is enabled.
fn closed(text: &str) -> String {
    let (mut lines, mut open) = (Vec::new(), None);
    for line in text.split('\n') {
        let squeezed: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        if squeezed.starts_with('[') {
            close_at(&mut lines, open);
            open = Some(lines.len() + 1);
        }
        if squeezed.starts_with("enabled=") {
            open = None;
            lines.push("enabled=0".to_owned());
        } else {
            lines.push(line.to_owned());
        }
    }
    close_at(&mut lines, open);
    lines.join("\n")
}

/// Right below the head of a section that ended without a word.
fn close_at(lines: &mut Vec<String>, below: Option<usize>) {
    if let Some(below) = below {
        lines.insert(below, "enabled=0".to_owned());
    }
}

/// The interfaces that `nodebootif` and `otherifce` name. `None` if the image has nothing of Red Hat's to bring them up.
pub fn interfaces(place: Place<'_>, interfaces: &Interfaces) -> Option<Vec<(String, String, u32)>> {
    let keyfiles = place.has("usr/sbin/NetworkManager") && !has_ifcfg_plugin(place);
    let scripts = place.has("etc/sysconfig/network-scripts") || place.has("usr/sbin/NetworkManager");
    if !keyfiles && !scripts {
        return None;
    }
    let boot = interfaces.boot.iter().map(|name| (name, true));
    let all = boot.chain(interfaces.others.iter().map(|name| (name, false)));
    let file = |(name, boots): (&String, bool)| match keyfiles {
        true => {
            let path = format!("etc/NetworkManager/system-connections/{name}.nmconnection");
            (path, keyfile(name, boots), 0o600)
        }
        false => (format!("etc/sysconfig/network-scripts/ifcfg-{name}"), ifcfg(name, boots), 0o644),
    };
    Some(all.map(file).collect())
}

/// NetworkManager reads the old files only with this (EL 8; gone in EL 10).
fn has_ifcfg_plugin(place: Place<'_>) -> bool {
    ["usr/lib64/NetworkManager", "usr/lib/NetworkManager"].iter().any(|folder| {
        let versions = place.names(folder, "");
        versions.iter().any(|version| {
            place.has(&Path::new(folder).join(version).join("libnm-settings-plugin-ifcfg-rh.so").to_string_lossy())
        })
    })
}

/// The initrd has configured the boot interface already; it is described, not brought up again.
fn ifcfg(name: &str, boots: bool) -> String {
    let on = if boots { "no" } else { "yes" };
    format!("DEVICE={name}\nBOOTPROTO=dhcp\nONBOOT={on}\n")
}

fn keyfile(name: &str, boots: bool) -> String {
    format!(
        "[connection]\nid={name}\ntype=ethernet\ninterface-name={name}\nautoconnect={}\n\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n",
        !boots
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_repository_is_closed() {
        let text = "[baseos]\nenabled=1\ngpgcheck=1\n[extras]\n enabled = true\n[src]\nenabled=0\n";
        let expected = "[baseos]\nenabled=0\ngpgcheck=1\n[extras]\nenabled=0\n[src]\nenabled=0\n";
        assert_eq!((closed(text).as_str(), closed(expected).as_str()), (expected, expected));
        // One that says nothing is enabled.
        assert_eq!(closed("# x\n[a]\nname=a\n\n[b]\nname=b"), "# x\n[a]\nenabled=0\nname=a\n\n[b]\nenabled=0\nname=b");
        assert_eq!(
            without_selinux("# SELINUX= can take\nSELINUX=enforcing\nSELINUXTYPE=targeted\n"),
            "# SELINUX= can take\nSELINUX=disabled\nSELINUXTYPE=targeted\n"
        );
    }

    #[test]
    fn interfaces_are_written_as_the_image_reads_them() {
        let image = tempfile::tempdir().unwrap();
        let place = Place::new(image.path());
        let wanted = Interfaces { boot: Some("eth0".into()), others: vec!["eth1".into()] };
        assert_eq!(interfaces(place, &wanted), None);
        fs::create_dir_all(image.path().join("usr/sbin")).unwrap();
        fs::write(image.path().join("usr/sbin/NetworkManager"), "").unwrap();
        let files = interfaces(place, &wanted).unwrap();
        assert_eq!(files[0].0, "etc/NetworkManager/system-connections/eth0.nmconnection");
        assert!(
            files[0].1.contains("autoconnect=false\n")
                && files[1].1.contains("autoconnect=true\n")
                && files[0].2 == 0o600
        );
        let plugins = image.path().join("usr/lib64/NetworkManager/1.40.16-1.el8");
        fs::create_dir_all(&plugins).unwrap();
        fs::write(plugins.join("libnm-settings-plugin-ifcfg-rh.so"), "").unwrap();
        let files = interfaces(place, &wanted).unwrap();
        assert_eq!(files[1].0, "etc/sysconfig/network-scripts/ifcfg-eth1");
        assert_eq!((files[0].1.contains("ONBOOT=no\n"), files[1].1.contains("ONBOOT=yes\n")), (true, true));
    }
}
