//! A real state folder, made with the real code, is damaged in each way: each is named, put right where nothing is lost
//! by it, and left alone where it is.

mod site;

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::*;
use crate::store::Op;
use site::Site;

/// What becomes of a damage.
enum Then {
    /// `--repair` puts it right, and the next look finds nothing.
    Repaired,
    /// `--repair` leaves it as it is; it is an error, or a warning.
    Left(Severity),
}
use Then::{Left, Repaired};

/// Damages a new site; checks what is found of it and what `--repair` does.
fn damaged(area: Area, what: &str, then: Then, damage: impl FnOnce(&Site)) {
    let site = Site::new();
    damage(&site);
    let before = site.files();
    let found = site.check(Wanted { repair: false, digests: true });
    let hit = |report: &Report, severity: Severity| {
        report.findings.iter().any(|one| (one.area, one.severity) == (area, severity) && one.what.contains(what))
    };
    let severity = if let Left(severity) = then { severity } else { Severity::Warning };
    assert!(hit(&found, severity), "{what}: {found}");
    assert!(found.needs_somebody());
    assert_eq!(site.files(), before, "{what}: only looked at");
    let repaired = site.check(Wanted { repair: true, digests: true });
    match then {
        Repaired => {
            assert!(hit(&repaired, Severity::Repaired), "{what}: {repaired}");
            assert!(!repaired.needs_somebody(), "{what}: {repaired}");
            let again = site.check(Wanted { repair: false, digests: true });
            assert_eq!((again.needs_somebody(), again.count(Severity::Repaired)), (false, 0), "{what}: {again}");
        }
        Left(severity) => {
            assert!(hit(&repaired, severity), "{what}: {repaired}");
            assert_eq!(site.files(), before, "{what}: left alone");
        }
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_healthy_state_is_found_so_and_left_as_it_is() {
    let site = Site::new();
    let before = site.files();
    for (repair, digests) in [(false, false), (false, true), (true, true)] {
        let report = site.check(Wanted { repair, digests });
        assert!(report.findings.iter().all(|one| one.severity == Severity::Ok), "{report}");
        for area in [Area::Certificates, Area::Store, Area::Plans, Area::Logs, Area::Generations, Area::Links] {
            assert!(report.findings.iter().any(|one| one.area == area), "{area}");
        }
    }
    assert_eq!(site.files(), before);
}

#[test]
fn while_a_coordinator_runs_or_without_a_state_folder_it_can_not_look() {
    let site = Site::new();
    let held = lock(&site.config).unwrap();
    assert!(matches!(check(&site.config, Wanted::default()), Err(CheckError::Running(_))));
    drop(held);
    let nowhere = Config { state_dir: site.state("nowhere"), ..site.config.clone() };
    assert!(matches!(check(&nowhere, Wanted::default()), Err(CheckError::NoState(_))));
    assert!(!site.state("nowhere").exists());
}

#[test]
fn keys_and_certificates() {
    let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    for key in ["pki/ca-key.pem", "pki/coordinator/key.pem"] {
        damaged(Area::State, "others than root may read it", Repaired, |site| open(&site.state(key)));
    }
    damaged(Area::State, "others than root", Repaired, |site| {
        fs::set_permissions(site.state(""), Permissions::from_mode(0o755)).unwrap();
    });
    damaged(Area::Certificates, "there is no CA", Left(Severity::Error), |site| {
        fs::remove_file(site.state("pki/ca.pem")).unwrap();
    });
    damaged(Area::Certificates, "cert.pem", Left(Severity::Error), |site| {
        fs::remove_file(site.state("pki/coordinator/cert.pem")).unwrap();
    });
}

#[test]
fn records() {
    damaged(Area::Store, "the record can't be read", Left(Severity::Error), |site| {
        let key = [b"build/".as_slice(), &2u64.to_be_bytes()].concat();
        site.commit(Op::Put { key, value: b"{\"v\":1,\"r\":{\"id\":2}}".to_vec() });
    });
    damaged(Area::Store, "builds without a record: 2", Left(Severity::Error), |site| {
        site.commit(Op::Delete { key: [b"build/".as_slice(), &2u64.to_be_bytes()].concat() });
    });
    // Nothing else is looked at: everything would look lost.
    let site = Site::new();
    fs::rename(site.state("db"), site.state("elsewhere")).unwrap();
    let report = site.check(Wanted { repair: true, digests: true });
    assert_eq!(report.count(Severity::Error), 1, "{report}");
    assert!(!site.state("db").exists() && site.state("logs/1/1.log.zst").exists());
}

/// A build that a newer release wrote has its staging, and the archive in it; its log; and perhaps a generation.
#[test]
fn with_an_unreadable_record_nothing_is_judged_by_what_no_record_names() {
    let site = Site::new();
    let archive = site.staging().join("3.1.tar.zst");
    fs::write(&archive, "x").unwrap();
    rootfs::remove::remove_tree(&site.rootimgdir(".generations/1")).unwrap();
    fs::create_dir_all(site.rootimgdir(".generations/7/rootimg")).unwrap();
    let key = [b"build/".as_slice(), &3u64.to_be_bytes()].concat();
    site.commit(Op::Put { key: key.clone(), value: b"{\"v\":1,\"r\":{\"id\":3}}".to_vec() });
    let before = site.files();
    let report = site.check(Wanted { repair: true, digests: false });
    assert_eq!(site.files(), before, "{report}");
    assert!(archive.exists());
    assert_eq!(report.count(Severity::Repaired), 0, "{report}");
    let of = |area| report.findings.iter().filter(|one| one.area == area).collect::<Vec<_>>();
    assert_eq!(of(Area::Store).iter().filter(|one| one.what.contains("none of it is judged")).count(), 1, "{report}");
    assert!(of(Area::Logs).iter().all(|one| one.severity == Severity::Ok), "{report}");
    assert!(of(Area::Staging).iter().all(|one| one.severity == Severity::Ok), "{report}");
    assert!(!report.to_string().contains("a generation without a record"), "{report}");
    // With the record back, all of it is judged again, and the archive is still there.
    site.commit(Op::Put { key, value: site.record() });
    let report = site.check(Wanted { repair: true, digests: false });
    assert!(archive.exists() && report.count(Severity::Repaired) == 1, "{report}");
}

#[test]
fn plans() {
    let plan = |site: &Site| site.state("plans").join(site.plan());
    damaged(Area::Plans, "the plan is missing; builds 3 need it", Left(Severity::Error), |site| {
        fs::remove_file(plan(site)).unwrap();
    });
    damaged(Area::Plans, "not what its digest says", Left(Severity::Error), |site| append(&plan(site), " "));
    damaged(Area::Plans, "a half-written plan", Repaired, |site| fs::write(site.state("plans/.ab.1"), "{").unwrap());
}

#[test]
fn logs() {
    let plain = |site: &Site| site.state("logs/3/1.log");
    damaged(Area::Logs, "the last line is torn: 14 bytes", Repaired, |site| append(&plain(site), "5 packages hal"));
    damaged(Area::Logs, "a half-made compressed log", Repaired, |site| {
        fs::write(site.state("logs/3/1.log.zst.new"), "x").unwrap();
    });
    damaged(Area::Logs, "is there twice", Repaired, |site| {
        fs::write(site.state("logs/1/1.log"), site::LOG).unwrap();
    });
    damaged(Area::Logs, "the compressed log can't be unpacked", Repaired, |site| {
        fs::write(site.state("logs/1/1.log"), site::LOG).unwrap();
        append(&site.state("logs/1/1.log.zst"), "more");
    });
    // Only the compressed one is good, or neither; a folder stands for a file that the disk does not give.
    damaged(Area::Logs, "this form can't be read", Left(Severity::Error), |site| {
        fs::create_dir(site.state("logs/1/1.log")).unwrap();
    });
    damaged(Area::Logs, "this form can't be read", Left(Severity::Error), |site| {
        fs::create_dir(site.state("logs/1/1.log")).unwrap();
        append(&site.state("logs/1/1.log.zst"), "more");
    });
    damaged(Area::Logs, "differ", Left(Severity::Error), |site| {
        fs::write(site.state("logs/1/1.log"), "5 packages something else\n").unwrap();
    });
    damaged(Area::Logs, "can't be read to its end", Left(Severity::Error), |site| {
        OpenOptions::new().write(true).open(site.state("logs/1/1.log.zst")).unwrap().set_len(12).unwrap();
    });
    damaged(Area::Logs, "the log of no build", Left(Severity::Warning), |site| {
        fs::create_dir(site.state("logs/99")).unwrap();
    });
    damaged(Area::Logs, "the log of attempt 1 of build 2 is missing", Left(Severity::Warning), |site| {
        fs::remove_file(site.state("logs/2/1.log.zst")).unwrap();
    });
    damaged(Area::Logs, "not compressed", Repaired, |site| {
        fs::remove_file(site.state("logs/2/1.log.zst")).unwrap();
        fs::write(site.state("logs/2/1.log"), site::LOG).unwrap();
    });
}

#[test]
fn staging() {
    damaged(Area::Staging, "no build that is out uses it", Repaired, |site| {
        crate::staging::create(&site.config.install_dir).unwrap();
    });
    damaged(Area::Staging, "can't publish", Left(Severity::Error), |site| {
        rootfs::remove::remove_tree(&site.staging()).unwrap();
    });
}

#[test]
fn generations_and_what_they_hold() {
    let generation = |site: &Site, name: &str| site.rootimgdir(".generations").join(name);
    damaged(Area::Generations, "left half done", Repaired, |site| {
        for name in [".incoming-3.1", ".packing-9", ".pruned-1"] {
            fs::create_dir_all(generation(site, name).join("rootimg/etc")).unwrap();
        }
    });
    damaged(Area::Generations, "a record without its folder", Repaired, |site| {
        rootfs::remove::remove_tree(&generation(site, "1")).unwrap();
    });
    damaged(Area::Generations, "no folder of generations", Left(Severity::Error), |site| {
        fs::rename(site.rootimgdir(".generations"), site.rootimgdir("unmounted")).unwrap();
    });
    damaged(Area::Artefacts, "an artefact is missing", Left(Severity::Error), |site| {
        fs::remove_file(generation(site, "1/kernel")).unwrap();
    });
    damaged(Area::Artefacts, "there is no archive in it", Left(Severity::Error), |site| {
        fs::remove_file(generation(site, "1/rootimg.cpio.gz")).unwrap();
    });
    damaged(Area::Artefacts, "its record says", Left(Severity::Error), |site| {
        append(&generation(site, "1/kernel"), "x")
    });
    damaged(Area::Artefacts, "has digest", Left(Severity::Error), |site| {
        fs::write(generation(site, "1/kernel"), "KERNEL").unwrap();
    });
    damaged(Area::Artefacts, "manifest.json", Left(Severity::Warning), |site| {
        fs::write(generation(site, "1/manifest.json"), "{}").unwrap();
    });
    damaged(Area::Artefacts, "no tree", Left(Severity::Error), |site| {
        rootfs::remove::remove_tree(&generation(site, "1/rootimg")).unwrap();
    });
}

#[test]
fn a_generation_without_a_record_is_named_and_needs_nobody() {
    let site = Site::new();
    fs::create_dir_all(site.rootimgdir(".generations/7/rootimg")).unwrap();
    let report = site.check(Wanted { repair: true, digests: false });
    assert!(report.findings.iter().any(|one| one.what.starts_with("a generation without a record")), "{report}");
    assert!(!report.needs_somebody(), "{report}");
    assert!(site.rootimgdir(".generations/7/rootimg").is_dir());
}

#[test]
fn links() {
    let relink = |site: &Site, name: &str, target: Option<&str>| {
        fs::remove_file(site.rootimgdir(name)).unwrap();
        if let Some(target) = target {
            symlink(target, site.rootimgdir(name)).unwrap();
        }
    };
    damaged(Area::Links, "points to generation 9", Repaired, |site| relink(site, "current", Some(".generations/9")));
    damaged(Area::Links, "nothing is served", Repaired, |site| relink(site, "current", None));
    damaged(Area::Links, "there is no link to it", Repaired, |site| relink(site, "kernel", None));
    damaged(Area::Links, "doesn't have", Repaired, |site| {
        symlink("current/rootimg.sfs", site.rootimgdir("rootimg.sfs")).unwrap();
    });
    damaged(Area::Links, "not to a generation", Left(Severity::Error), |site| {
        relink(site, "current", Some("elsewhere"))
    });
    damaged(Area::Links, "no link of ours", Left(Severity::Error), |site| {
        relink(site, "kernel", None);
        fs::write(site.rootimgdir("kernel"), "precious").unwrap();
    });
}

#[test]
fn what_is_mounted_in_half_done_work_survives_and_is_named() {
    let site = Site::new();
    let point = site.rootimgdir(".generations/.incoming-3.1/rootimg/mnt");
    let precious = site.state("precious");
    fs::create_dir_all(&point).unwrap();
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("data"), "x").unwrap();
    rustix::mount::mount_bind(&precious, &point).expect("this test needs root");
    let report = check(&site.config, Wanted { repair: true, digests: false });
    rustix::mount::unmount(&point, rustix::mount::UnmountFlags::empty()).unwrap();
    let report = report.unwrap();
    let named = report.findings.iter().find(|one| one.severity == Severity::Error).expect("it is named");
    assert!(named.next.contains(&point.display().to_string()), "{named:?}");
    assert_eq!(fs::read_to_string(precious.join("data")).unwrap(), "x");
}

#[test]
fn a_report_reads_well_and_as_json() {
    let mut report = Report::new(false);
    report.ok(Area::Store, Path::new("/s/db"), "2 builds");
    report.warning(Area::Logs, Path::new("/s/logs/9"), "odd", "look at it");
    let text = report.to_string();
    assert!(
        text.starts_with("ok        store         /s/db: 2 builds\nwarning   logs          /s/logs/9: odd\n"),
        "{text}"
    );
    assert!(text.ends_with("-> look at it\n0 errors, 1 warning, 0 repaired"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][1]["severity"], "warning");
    assert_eq!(json["findings"][1]["next"], "look at it");
}
