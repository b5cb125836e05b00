//! Who may do what: roles, joining, and certificates that are none.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use coordinator::api::auth::PERMISSIONS;
use model::role::Role;
use proto::tls::{Identity, connect, connect_by_fingerprint};
use tests::{AgentOptions, Cli, Site, binary, join, text};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use Least::{Admin, Agent, Nobody, Operator, Viewer};

fn issue(site: &Site, role: &str, days: u32) -> PathBuf {
    let out = site.path(&format!("identity-{role}-{days}"));
    let made = Command::new(binary("imgctl-coordinator"))
        .args(["issue", "--name", role, "--role", role, "--days", &days.to_string(), "--out"])
        .arg(&out)
        .arg("--config")
        .arg(site.path("coordinator.toml"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.starts_with("coordinator = \""), "{config}");
    out
}

fn as_user(site: &Site, identity: PathBuf) -> Cli {
    Cli { coordinator: site.cli.coordinator.clone(), identity }
}

/// Who may call, at the least.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Least {
    /// A caller without a certificate.
    Nobody,
    /// An agent, and no person.
    Agent,
    Viewer,
    Operator,
    Admin,
}

/// Every call of the protocol with who may make it, written out here and not taken from the coordinator's own table:
/// that table is what is tested.
const CALLS: [(&str, Least); 34] = [
    ("/imgctl.v1.Agents/CreateToken", Admin),
    ("/imgctl.v1.Agents/Drain", Operator),
    ("/imgctl.v1.Agents/Get", Viewer),
    ("/imgctl.v1.Agents/List", Viewer),
    ("/imgctl.v1.Agents/Remove", Admin),
    ("/imgctl.v1.Agents/Undrain", Operator),
    ("/imgctl.v1.Builds/Cancel", Operator),
    ("/imgctl.v1.Builds/Explain", Viewer),
    ("/imgctl.v1.Builds/Get", Viewer),
    ("/imgctl.v1.Builds/List", Viewer),
    ("/imgctl.v1.Builds/Logs", Viewer),
    ("/imgctl.v1.Builds/Retry", Operator),
    ("/imgctl.v1.Builds/Submit", Operator),
    ("/imgctl.v1.Builds/Watch", Viewer),
    ("/imgctl.v1.Enrolment/Join", Nobody),
    ("/imgctl.v1.Generations/Activate", Operator),
    ("/imgctl.v1.Generations/Diff", Viewer),
    ("/imgctl.v1.Generations/Get", Viewer),
    ("/imgctl.v1.Generations/List", Viewer),
    ("/imgctl.v1.Osimages/Copy", Operator),
    ("/imgctl.v1.Osimages/Create", Operator),
    ("/imgctl.v1.Osimages/Export", Viewer),
    ("/imgctl.v1.Osimages/Get", Viewer),
    ("/imgctl.v1.Osimages/Import", Operator),
    ("/imgctl.v1.Osimages/List", Viewer),
    ("/imgctl.v1.Osimages/Remove", Operator),
    ("/imgctl.v1.Osimages/Rename", Operator),
    ("/imgctl.v1.Osimages/Resolve", Viewer),
    ("/imgctl.v1.Osimages/Set", Operator),
    ("/imgctl.v1.Sessions/FetchPlan", Agent),
    ("/imgctl.v1.Sessions/FetchTree", Agent),
    ("/imgctl.v1.Sessions/Open", Agent),
    ("/imgctl.v1.Sessions/PushLog", Agent),
    ("/imgctl.v1.Sessions/Upload", Agent),
];

/// Calls whose answer is a stream: let in, it may stay open.
const STREAMS: [&str; 6] = [
    "/imgctl.v1.Builds/Logs",
    "/imgctl.v1.Builds/Watch",
    "/imgctl.v1.Sessions/FetchPlan",
    "/imgctl.v1.Sessions/FetchTree",
    "/imgctl.v1.Sessions/Open",
    "/imgctl.v1.Sessions/PushLog",
];

impl Least {
    fn lets_in(self, role: Option<Role>) -> bool {
        let rank = match role {
            None => return self == Nobody,
            Some(Role::Agent) => return matches!(self, Nobody | Agent),
            Some(Role::Viewer) => 1,
            Some(Role::Operator) => 2,
            Some(Role::Admin) => 3,
        };
        match self {
            Nobody => true,
            Agent => false,
            Viewer => rank >= 1,
            Operator => rank >= 2,
            Admin => rank >= 3,
        }
    }
}

/// Calls an RPC with an empty message and gives the code of the answer.
async fn call(channel: &Channel, path: &'static str) -> Code {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let answer = grpc.unary(Request::new(()), path.parse().unwrap(), ProstCodec::<(), ()>::default());
    match tokio::time::timeout(Duration::from_secs(5), answer).await {
        Ok(Ok(_)) => Code::Ok,
        Ok(Err(status)) => status.code(),
        Err(_) => {
            assert!(STREAMS.contains(&path), "{path} doesn't answer");
            Code::Ok
        }
    }
}

#[tokio::test]
async fn every_call_is_open_to_exactly_the_roles_that_it_names() {
    let mut site = Site::start();
    site.agent("n1");
    let token = site.cli.json("agents token");
    let identity = |dir: PathBuf| Identity::load(&dir).unwrap();
    let at = site.cli.coordinator.clone();
    let nobody = connect_by_fingerprint(&at, text(&token, "ca_fingerprint")).await.unwrap();
    let viewer = connect(&at, &identity(issue(&site, "viewer", 1))).await.unwrap();
    let operator = connect(&at, &identity(issue(&site, "operator", 1))).await.unwrap();
    let admin = connect(&at, &identity(site.cli.identity.clone())).await.unwrap();
    let agent = connect(&at, &identity(site.path("n1/identity"))).await.unwrap();
    let callers = [
        (None, nobody),
        (Some(Role::Viewer), viewer),
        (Some(Role::Operator), operator),
        (Some(Role::Admin), admin),
        (Some(Role::Agent), agent),
    ];
    for (path, least) in CALLS {
        for (role, channel) in &callers {
            let code = call(channel, path).await;
            let refused = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
            assert_eq!(!refused, least.lets_in(*role), "{path} as {role:?} gave {code:?}");
        }
    }
    assert_eq!(call(&callers[3].1, "/imgctl.v1.Osimages/Nonesuch").await, Code::Unimplemented);
}

#[test]
fn the_table_of_permissions_names_every_call_of_the_protocol() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/imgctl/v1");
    let mut calls = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let proto = fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut service = "";
        for line in proto.lines() {
            let words: Vec<&str> = line.split([' ', '(', '{']).filter(|word| !word.is_empty()).collect();
            match words.as_slice() {
                ["service", name, ..] => service = name,
                ["rpc", name, ..] => calls.push(format!("/imgctl.v1.{service}/{name}")),
                _ => {}
            }
        }
    }
    let mut named: Vec<String> = PERMISSIONS.iter().map(|(path, _)| (*path).to_owned()).collect();
    named.sort();
    calls.sort();
    assert_eq!(named, calls);
    assert_eq!(CALLS.map(|(path, _)| path).to_vec(), calls);
}

#[test]
fn a_viewer_looks_and_changes_nothing() {
    let site = Site::start();
    let viewer = as_user(&site, issue(&site, "viewer", 1));
    viewer.ok("osimage list");
    viewer.run("osimage create a profile=x").exited(3).says("operator");
    viewer.run("agents token").exited(3).says("admin");
    as_user(&site, issue(&site, "operator", 1)).run("agents token").exited(3).says("admin");
}

#[test]
fn joining_takes_an_unused_token_and_the_right_ca() {
    let site = Site::start();
    let at = site.cli.coordinator.clone();
    let config = |name: &str| site.agent_config(name, &AgentOptions::default());
    let token = site.cli.json("agents token --agent n1");
    let (secret, ca) = (text(&token, "token"), text(&token, "ca_fingerprint"));
    let nothing_written = |name: &str| assert!(!site.path(&format!("{name}/identity/cert.pem")).exists());

    join(&config("n1"), &at, "0000", ca).exited(3).says("token is not known");
    join(&config("n2"), &at, secret, ca).exited(3).says("for agent n1");
    join(&config("n1"), &at, secret, &"0".repeat(64)).exited(3).says("fingerprint");
    join(&config("n1"), "127.0.0.1:1", secret, ca).exited(4).says("127.0.0.1:1");
    nothing_written("n1");
    join(&config("n1"), &at, secret, ca).exited(0);
    join(&config("n3"), &at, secret, ca).exited(3).says("used");
    nothing_written("n3");

    // A token for anybody lets nobody in as an agent that is there already; one of its name does.
    let (any, again) = (site.cli.json("agents token"), site.cli.json("agents token --agent n1"));
    fs::rename(site.path("n1/identity"), site.path("n1/before")).unwrap();
    join(&config("n1"), &at, text(&any, "token"), ca).exited(3).says("agents token --agent n1");
    nothing_written("n1");
    join(&config("n1"), &at, text(&again, "token"), ca).exited(0);

    let short = site.cli.json("agents token --valid 1s");
    std::thread::sleep(Duration::from_millis(1200));
    join(&config("n4"), &at, text(&short, "token"), ca).exited(3).says("run out");
    nothing_written("n4");
}

#[test]
fn a_certificate_that_is_none_expired_or_foreign_gets_one_clear_message() {
    let site = Site::start();
    let other = Site::start();
    as_user(&site, site.path("nowhere")).run("osimage list").exited(3).says("no identity");

    let expired = issue(&site, "viewer", 0);
    std::thread::sleep(Duration::from_millis(1100));
    as_user(&site, expired).run("osimage list").exited(3).says("expired on");

    // Another site's admin: its CA is not that of this coordinator.
    as_user(&site, other.cli.identity.clone()).run("osimage list").exited(4).says("another CA");
    // The same with the right CA put beside the foreign certificate: now the coordinator refuses it.
    let forged = site.path("forged");
    fs::create_dir(&forged).unwrap();
    for (from, name) in
        [(&other.cli.identity, "cert.pem"), (&other.cli.identity, "key.pem"), (&site.cli.identity, "ca.pem")]
    {
        fs::copy(from.join(name), forged.join(name)).unwrap();
    }
    as_user(&site, forged).run("osimage list").exited(3).says("certificate");
}
