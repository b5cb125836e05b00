//! The folder of a simulated site before its first second: keys, records of the agents, builds that are queued.

use std::fs::{self, File};
use std::path::Path;

use agent::inspect::Facts;
use coordinator::config::Config;
use coordinator::pki::{AGENT_LIFE, Authority, SERVER_DIR};
use coordinator::store::Store;
use model::agent::AgentRecord;
use model::arch::Arch;
use model::build::{Build, BuildState, Needs, PackWish, Part};
use model::id::BuildId;
use model::role::Role;
use proto::tls::{Identity, NewKey, fingerprint};
use rootfs::digest::Digest;

/// The scripted workers don't look at their plan.
const PLAN: &[u8] = b"{}\n";

/// The coordinator's settings: those of every site, in a folder of its own.
pub(crate) fn coordinator(folder: &Path) -> Config {
    Config { state_dir: folder.join("state"), install_dir: folder.join("install"), ..Config::default() }
}

/// An agent's settings.
pub(crate) fn agent(folder: &Path, name: &str) -> agent::config::Config {
    let mut config = agent::config::Config::new("mn:7443", folder.join(name));
    // It uploads: over the network that is cut.
    config.install = agent::config::Install::None;
    config
}

/// What every agent here says of its node.
pub(crate) fn facts() -> Facts {
    Facts {
        arch: "x86_64".to_owned(),
        os: "debian12".to_owned(),
        kernel: "6.1".to_owned(),
        package_systems: vec!["apt".to_owned()],
        tools: Vec::new(),
        memory_bytes: 8 << 30,
        cpus: 2,
        version: "1".to_owned(),
    }
}

/// Writes it all.
pub(crate) async fn site(folder: &Path, agents: &[&str], builds: u64) {
    let config = coordinator(folder);
    for made in [&config.state_dir, &config.install_dir, &config.plans_dir()] {
        fs::create_dir_all(made).expect("a folder");
    }
    let plan = Digest::of(PLAN).to_hex();
    fs::write(config.plans_dir().join(&plan), PLAN).expect("a plan");
    let authority = Authority::create_or_load(&config.pki_dir()).expect("a CA");
    let server = authority.issue_server(&["mn".to_owned()]).expect("a certificate");
    server.store(&config.pki_dir().join(SERVER_DIR)).expect("an identity");
    let (store, _failed) = Store::open(&config.store_dir()).expect("a store");
    for name in agents {
        store.save_agent(&joined(&authority, folder, name)).await.expect("a record");
    }
    for number in 1..=builds {
        store.save_build(&queued(&config, number, &plan)).await.expect("a record");
    }
    drop(store);
    released(&config);
}

/// Waits until nobody has the store open: its thread ends a moment after the last handle is dropped.
pub(crate) fn released(config: &Config) {
    let lock = File::open(config.store_dir().join("db")).expect("the store's file");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("its lock");
}

fn joined(authority: &Authority, folder: &Path, name: &str) -> AgentRecord {
    let key = NewKey::generate(name).expect("a key");
    let signed = authority.sign(&key.signing_request_pem, name, Role::Agent, AGENT_LIFE).expect("a certificate");
    let identity = Identity::new(signed, key.key_pem, authority.ca_pem().to_owned());
    identity.store(&agent(folder, name).identity()).expect("an identity");
    let certificate = identity.chain().expect("a certificate").remove(0);
    AgentRecord {
        name: name.parse().expect("a name"),
        joined_ms: 0,
        certificate_sha256: fingerprint(&certificate),
        certificate_expires_ms: 0,
        facts: None,
        last_seen_ms: 0,
        drained: None,
    }
}

fn queued(config: &Config, number: u64, plan: &str) -> Build {
    Build {
        id: BuildId::new(number).expect("from 1"),
        osimage: "compute".parse().expect("a name"),
        revision: 1,
        arch: Arch::X86_64,
        needs: Needs { package_system: "apt".to_owned(), osvers: "debian12".to_owned(), ..Needs::default() },
        rootimgdir: config.install_dir.join(format!("netboot/debian12/x86_64/image{number}")),
        part: Part::Genimage,
        pack: PackWish::default(),
        submitted_by: "root".parse().expect("a name"),
        submitted_ms: 1,
        ended_ms: 0,
        priority: 0,
        plan: Some(plan.to_owned()),
        state: BuildState::Queued,
        attempts: Vec::new(),
        generation: None,
        artefacts: Vec::new(),
        warnings: Vec::new(),
    }
}
