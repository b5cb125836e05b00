//! The folder of a simulated site before its first second: keys, records of the agents, builds that are queued.

use std::fs;
use std::path::Path;
use std::time::Duration;

use agent::AgentError;
use agent::inspect::Facts;
use agent::worker::handle::Workers;
use coordinator::config::Config;
use coordinator::pki::{AGENT_LIFE, Authority, SERVER_DIR};
use coordinator::store::{Store, StoreError};
use model::agent::AgentRecord;
use model::arch::Arch;
use model::build::{Build, BuildState, Needs, PackWish, Part};
use model::id::BuildId;
use model::role::Role;
use model::wish::GenimageWish;
use proto::tls::{Identity, NewKey, fingerprint};
use rootfs::digest::Digest;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::net::Net;

/// The scripted workers don't look at their plan.
const PLAN: &[u8] = b"{}\n";
/// How often, and how long apart, a lock is asked for: half a minute.
const LOCK_TRIES: u32 = 1500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

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
        emulations: Vec::new(),
        emulated_on: None,
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
    let (store, _failed) = open(&config);
    for name in agents {
        store.save_agent(&joined(&authority, folder, name)).await.expect("a record");
    }
    for number in 1..=builds {
        store.save_build(&queued(&config, number, &plan)).await.expect("a record");
    }
}

/// Opens the coordinator's store, in real time. A store's thread ends a moment after its last handle is dropped, and a child
/// that another test has just forked holds every lock of this process until it runs its own program.
pub(crate) fn open(config: &Config) -> (Store, oneshot::Receiver<StoreError>) {
    let mut tries = 0;
    loop {
        match Store::open(&config.store_dir()) {
            Err(StoreError::Open { .. }) if tries < LOCK_TRIES => tries += 1,
            opened => return opened.expect("a store"),
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// Runs an agent, once the one before it has let its lock go: see [`open`].
pub(crate) async fn run_agent(config: agent::config::Config, workers: Workers) -> Result<(), AgentError> {
    let mut tries = 0;
    loop {
        match agent::run_over(Net, config.clone(), facts(), workers.clone(), CancellationToken::new()).await {
            Err(AgentError::Taken(_)) if tries < LOCK_TRIES => tries += 1,
            ended => return ended,
        }
        std::thread::sleep(LOCK_PAUSE);
    }
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
        genimage: GenimageWish::default(),
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
        initrds: Vec::new(),
        cancel_by: None,
    }
}
