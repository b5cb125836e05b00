//! In the child: where the install root is seen. What the node has mounted itself comes first, if it is right.

use std::path::Path;

use model::agent::{Condition, Effect, InstallView};
use rustix::mount::{UnmountFlags, unmount};

use super::conditions::{INSTALL_MOUNT_FAILED, INSTALL_NOT_MOUNTED, INSTALL_NOT_OURS};
use super::export::Export;
use super::trial::{self, Trial};
use super::{Question, Seen, Way};
use crate::build::failure::chain;
use crate::config::Install;
use crate::sys::mount::{MountPoint, holding, table};

/// Folders of which an install root has at least one.
const OF_INSTALL_ROOTS: [&str; 4] = [".imgctl", "netboot", "custom", "postscripts"];

/// Looks. May block for ever; mounts in this process's namespace.
pub fn look(question: &Question) -> Seen {
    if question.install == Install::None {
        return Seen::nothing(Vec::new());
    }
    let table = table().unwrap_or_default();
    let mount = holding(&table, &question.install_dir);
    let mut against = Vec::new();
    if let Some(install) = there(question, mount) {
        let proof = question.proof.as_deref();
        match trial::run(&question.install_dir, proof, mount) {
            Ok(trial) => return seen(install, Way::There(question.install_dir.clone()), trial),
            // Who says where it is must know; but not of data that comes back wrong.
            Err(condition) if is_believed(question) && condition.name == INSTALL_NOT_OURS.name => {
                let condition = Condition { effect: Effect::Note, ..condition };
                let trial = Trial { writable: false, conditions: vec![condition] };
                return seen(install, Way::There(question.install_dir.clone()), trial);
            }
            Err(condition) => against.push(condition),
        }
    }
    let export = question.export.as_ref().filter(|_| question.install != Install::Local);
    match export.map(|export| (export, mounted(export, question))) {
        Some((export, Ok(trial))) => return seen(InstallView::Nfs, Way::Mount(export.clone()), trial),
        Some((_, Err(condition))) => against.push(condition),
        None => {}
    }
    if against.is_empty() {
        let detail = format!("`{}` is no install root", question.install_dir.display());
        against.push(INSTALL_NOT_MOUNTED.found(detail));
    }
    Seen::nothing(against)
}

fn seen(install: InstallView, way: Way, Trial { writable, conditions }: Trial) -> Seen {
    Seen { install, way: Some(way), writable, conditions }
}

/// How the node itself has it, if it does.
fn there(question: &Question, mount: Option<&MountPoint>) -> Option<InstallView> {
    let by_nfs = mount.is_some_and(|mount| mount.kind.starts_with("nfs"));
    let folder = &question.install_dir;
    match question.install {
        Install::None => None,
        Install::Local => Some(InstallView::Local),
        // Where there is nothing else to look at, it is believed.
        Install::Nfs => (by_nfs || question.export.is_none()).then_some(InstallView::Nfs),
        Install::Auto if by_nfs => Some(InstallView::Nfs),
        Install::Auto => is_root(folder).then_some(InstallView::Local),
    }
}

/// Whether the configuration alone says where it is.
fn is_believed(question: &Question) -> bool {
    match question.install {
        Install::Local => true,
        Install::Nfs => question.export.is_none(),
        Install::Auto | Install::None => false,
    }
}

/// A bare folder of that name is no install root: xCAT and the coordinator keep theirs below these.
fn is_root(folder: &Path) -> bool {
    OF_INSTALL_ROOTS.iter().any(|name| folder.join(name).is_dir())
}

fn mounted(export: &Export, question: &Question) -> Result<Trial, Condition> {
    let point = &question.mount_point;
    if let Err(error) = export.mount(point) {
        let words = error.lines().last().cloned().unwrap_or_else(|| chain(&error));
        return Err(INSTALL_MOUNT_FAILED.found(format!("{} can't be mounted: {words}", export.source)));
    }
    let table = table().unwrap_or_default();
    let tried = trial::run(point, question.proof.as_deref(), holding(&table, point));
    // It ends with the namespace at the latest.
    let _ = unmount(point, UnmountFlags::DETACH);
    tried
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn question(install: Install, folder: &Path) -> Question {
        let (install_dir, mount_point) = (folder.to_owned(), folder.to_owned());
        Question { install, install_dir, export: None, mount_point, proof: Some("proof".into()) }
    }

    fn words(seen: &Seen) -> (InstallView, bool, Vec<&str>) {
        (seen.install, seen.writable, seen.conditions.iter().map(|condition| condition.name.as_str()).collect())
    }

    #[test]
    fn what_is_found_must_be_ours_and_what_is_said_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |install| look(&question(install, folder.path()));
        assert_eq!(words(&at(Install::None)), (InstallView::None, false, vec![]));
        assert_eq!(words(&at(Install::Auto)), (InstallView::None, false, vec!["install-not-mounted"]));
        fs::create_dir(folder.path().join("netboot")).unwrap();
        assert_eq!(words(&at(Install::Auto)), (InstallView::None, false, vec!["install-not-ours"]));
        assert_eq!(words(&at(Install::Local)), (InstallView::Local, false, vec!["install-not-ours"]));
        assert_eq!(words(&at(Install::Nfs)), (InstallView::Nfs, false, vec!["install-not-ours"]));
        let offered = Question { export: Export::of("mn:/i", ""), ..question(Install::Local, folder.path()) };
        assert_eq!(look(&offered).install, InstallView::Local);
        assert_eq!(look(&offered).conditions[0].effect, Effect::Note);
        fs::create_dir(folder.path().join("proof")).unwrap();
        assert_eq!(words(&at(Install::Auto)), (InstallView::Local, true, vec![]));
    }

    #[test]
    fn an_nfs_mount_of_the_node_is_one_whatever_is_in_it() {
        let mount = |kind: &str| {
            let line = format!("40 27 0:44 / /install rw - {kind} mn:/install rw,vers=4.1\n");
            crate::sys::mount::parse(line.as_bytes()).remove(0)
        };
        let folder = tempfile::tempdir().unwrap();
        let question = question(Install::Auto, folder.path());
        assert_eq!(there(&question, Some(&mount("nfs4"))), Some(InstallView::Nfs));
        assert_eq!(there(&question, Some(&mount("ext4"))), None);
        let export = Export::of("mn:/install", "");
        let question = Question { install: Install::Nfs, export, ..question };
        assert_eq!(there(&question, Some(&mount("ext4"))), None);
    }

    #[test]
    fn what_can_not_be_mounted_is_told_with_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let export = Export::of("127.0.0.1:/nowhere", "");
        let seen = look(&Question { export, ..question(Install::Auto, folder.path()) });
        assert_eq!(words(&seen), (InstallView::None, false, vec!["install-mount-failed"]));
        assert!(seen.conditions[0].detail.starts_with("127.0.0.1:/nowhere can't be mounted: "), "{seen:?}");
    }
}
