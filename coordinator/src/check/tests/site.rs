//! A site with two packed generations, the second live, and a third build that is out.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use model::build::{AttemptRecord, Build, BuildState};
use model::generation::{GenerationRecord, GenerationState};
use model::id::{Attempt, Generation};
use rootfs::manifest::Manifest;

use super::{Config, Report, Store, Wanted, check};
use crate::args::InitArgs;
use crate::generation::RootimgDir;
use crate::logs::{LogLine, Logs, attempt_id};
use crate::packimage::{Format, PackOrder, pack};
use crate::plans::Plans;
use crate::store::Op;
use crate::{init, samples, staging};

/// What stands in every log, on disk.
pub(super) const LOG: &str = "5 packages one\n5 packages two\n";

pub(super) struct Site {
    dir: tempfile::TempDir,
    pub(super) config: Config,
    builds: Vec<Build>,
}

impl Site {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let args = InitArgs {
            config: at("c.toml"),
            state_dir: at("state"),
            install_dir: at("install"),
            listen: ([127, 0, 0, 1], 0).into(),
            name: Vec::new(),
            admin_dir: Some(at("admin")),
        };
        init::init(args, None).unwrap();
        fs::set_permissions(at("state"), fs::Permissions::from_mode(0o700)).unwrap();
        let config = Config::load(&at("c.toml")).unwrap();
        let mut site = Self { dir, config, builds: Vec::new() };
        site.fill();
        // A first look lets the engine clear up after its creation.
        site.check(Wanted::default());
        site
    }

    fn fill(&mut self) {
        let plan = Plans::open(&self.config.plans_dir()).unwrap().keep(&plan()).unwrap();
        staging::prepare(&self.config.install_dir).unwrap();
        let staged = staging::create(&self.config.install_dir).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (store, _failed) = Store::open(&self.config.store_dir()).unwrap();
        for number in 1..=3 {
            let leased = BuildState::Leased { agent: "n1".parse().unwrap(), attempt: Attempt::FIRST };
            self.builds.push(Build {
                rootimgdir: self.rootimgdir(""),
                plan: Some(plan.clone()),
                state: if number == 3 { leased } else { BuildState::Succeeded },
                attempts: vec![attempt(if number == 3 { staged.clone() } else { PathBuf::new() })],
                ..samples::build(number)
            });
        }
        runtime.block_on(store.add_builds(&self.builds, &[], "request")).unwrap();
        let logs = Logs::open(&self.config.logs_dir()).unwrap();
        for build in &self.builds {
            let id = attempt_id(build.id, Attempt::FIRST);
            let line = |text: &str| LogLine { time_ms: 5, stage: "packages".into(), text: text.into() };
            logs.attempt(id).unwrap().append(1, &[line("one"), line("two")]).unwrap();
            if build.state.is_final() {
                logs.end(id);
                runtime.block_on(logs.compress(id)).unwrap();
                let record = self.packed(build);
                runtime.block_on(store.save_generations(build, &[record], &[])).unwrap();
            }
        }
    }

    /// A generation of the build's own number, packed and live.
    fn packed(&self, build: &Build) -> GenerationRecord {
        let number = Generation::new(u32::try_from(build.id.get()).unwrap()).unwrap();
        let folder = self.rootimgdir(".generations").join(number.to_string());
        fs::create_dir_all(folder.join("rootimg/etc")).unwrap();
        fs::write(folder.join("rootimg/etc/fstab"), "").unwrap();
        fs::write(folder.join("rootimg/etc/shadow"), "root::1:::::\n").unwrap();
        for name in ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "build.json"] {
            fs::write(folder.join(name), name).unwrap();
        }
        Manifest::of_tree(&folder.join("rootimg")).unwrap().write(&folder.join("manifest.json")).unwrap();
        let order = PackOrder {
            osimage: "compute".parse().unwrap(),
            excludes: Vec::new(),
            includes: Vec::new(),
            copies: Vec::new(),
            format: Format::default(),
            root_hash: None,
            recorded: Vec::new(),
            threads: NonZeroUsize::MIN,
        };
        let dir = RootimgDir::open(&self.rootimgdir(""), &self.config.install_dir).unwrap();
        let packed = pack(&order, &dir, number.into(), &AtomicBool::new(false)).unwrap();
        GenerationRecord {
            number,
            osimage: "compute".parse().unwrap(),
            build: build.id,
            rootimgdir: self.rootimgdir(""),
            state: GenerationState::Packed,
            tree_of: None,
            built_ms: 1,
            packed_ms: 2,
            kernel_version: "6.1".into(),
            agent: "n1".parse().unwrap(),
            packages: 1,
            emulated_on: None,
            artefacts: packed.artefacts,
        }
    }

    pub(super) fn check(&self, wanted: Wanted) -> Report {
        check(&self.config, wanted).unwrap()
    }

    pub(super) fn commit(&self, op: Op) {
        let (store, _failed) = Store::open(&self.config.store_dir()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.commit(Vec::new(), vec![op])).unwrap();
    }

    /// The record of the build that is out, as it lies on disk.
    pub(super) fn record(&self) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({"v": 1, "r": self.builds[2]})).unwrap()
    }

    pub(super) fn state(&self, name: &str) -> PathBuf {
        self.config.state_dir.join(name)
    }

    pub(super) fn rootimgdir(&self, name: &str) -> PathBuf {
        self.config.install_dir.join("netboot/compute").join(name).components().collect()
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.config.install_dir.join(&self.builds[2].attempts[0].staging)
    }

    pub(super) fn plan(&self) -> String {
        self.builds[0].plan.clone().unwrap()
    }

    /// Every file with its mode and what is in it; without the engine's own, which change at every look.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        read(self.dir.path(), &mut found);
        found.retain(|path, _| !path.starts_with(self.state("db")) && !path.starts_with(self.state("db.reserve")));
        found
    }
}

fn read(path: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    let metadata = path.symlink_metadata().unwrap();
    let content = if metadata.is_symlink() {
        fs::read_link(path).unwrap().display().to_string().into_bytes()
    } else if metadata.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| read(&entry.unwrap().path(), found));
        Vec::new()
    } else if path.ends_with("db.reserve") {
        return;
    } else {
        fs::read(path).unwrap()
    };
    found.insert(path.to_owned(), (metadata.mode(), content));
}

fn attempt(staging: PathBuf) -> AttemptRecord {
    AttemptRecord {
        attempt: Attempt::FIRST,
        agent: "n1".parse().unwrap(),
        started_ms: 1,
        ended_ms: 0,
        stages: Vec::new(),
        outcome: staging.as_os_str().is_empty().then(|| "received".to_owned()),
        last_event: 0,
        staging,
        published: None,
        emulated_on: None,
    }
}

fn plan() -> model::plan::BuildPlan {
    let plan = serde_json::json!({
        "version": 3, "osimage": "compute", "revision": 1, "osvers": "debian12", "osarch": "x86_64",
        "arch": "x86_64", "profile": "compute", "provmethod": "netboot", "rootimgdir": "/install/r",
        "install_dir": "/install", "packages": {"kind": "zypper"}, "repositories": [], "other_repositories": [],
        "passes": [], "other_passes": [], "environment": {}, "kernel": {"kind": "only"}, "drivers": {},
        "postinstall": [], "interfaces": {"boot": null, "others": []}, "script_environment": {}, "needs_install": [],
        "attributes": [], "warnings": [],
    });
    serde_json::from_value(plan).unwrap()
}
