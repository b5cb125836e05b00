//! One image for two architectures: one profile, a medium of each side by side, and one submission.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tests::el9::{Medium, medium, medium_of};
use tests::{AgentOptions, Site, eventually, join, text};

const LONG: Duration = Duration::from_secs(120);

/// The architecture that this machine isn't.
fn foreign() -> &'static str {
    if tests::arch() == "ppc64le" { "x86_64" } else { "ppc64le" }
}

/// Lays a medium into the install root and defines what xCAT would of it, from its profile.
fn define(site: &Site, medium: &Medium) -> String {
    medium.lay_into(site.install_dir());
    let stock = fs::read_to_string(medium.stock_list()).unwrap();
    let name = medium.stock_list().file_name().unwrap().to_str().unwrap().to_owned();
    site.write(&format!("custom/netboot/rh/{name}"), &stock);
    let (osvers, arch) = (medium.osver(), medium.arch());
    let name = format!("{osvers}-{arch}-netboot-compute");
    let attributes = format!("osvers={osvers} osarch={arch} profile=compute provmethod=netboot");
    site.cli.run(&format!("osimage create -u {name} {attributes}")).succeeded();
    name
}

/// An agent that has joined and was never started: nobody knows of what architecture its node is.
fn join_only(site: &Site, name: &str) {
    let token = site.cli.json("agents token");
    let config = site.agent_config(name, &AgentOptions::default());
    let joined = join(&config, &site.cli.coordinator, text(&token, "token"), text(&token, "ca_fingerprint"));
    assert_eq!(joined.code, 0, "{}", joined.err);
}

#[test]
fn a_profile_is_built_for_two_architectures_at_once() {
    let mut site = Site::start();
    site.agent("n1");
    let other = medium_of(foreign());
    let (here, there) = (define(&site, medium()), define(&site, other));
    resolves_against_its_own_medium(&site, &here, medium());
    resolves_against_its_own_medium(&site, &there, other);

    let both = format!("build compute --arch {},{} --detach", tests::arch(), foreign());
    let said = format!("{there}: no agent of architecture {} has joined", foreign());
    site.cli.run(&both).exited(3).says(&said);
    assert_eq!(site.cli.json("builds list"), json!([]), "one half is not queued without the other");

    join_only(&site, "p1");
    site.cli.ok(&both);
    let builds = site.cli.json("builds list");
    let of = |name: &str| builds.as_array().unwrap().iter().find(|build| build["osimage"] == name).unwrap().clone();
    let (ours, theirs) = (of(&here), of(&there));
    assert_eq!(builds.as_array().unwrap().len(), 2, "{builds}");
    assert_eq!((&ours["arch"], &theirs["arch"]), (&json!(tests::arch()), &json!(foreign())));
    let now = |build: &Value| site.cli.json(&format!("builds show {}", build["id"]));
    eventually("the node's own architecture to be dispatched", LONG, || {
        (now(&ours)["attempts"][0]["agent"] == "n1").then_some(())
    });
    assert_eq!(now(&theirs)["state"]["name"], "queued");
    assert_eq!(now(&theirs)["attempts"], json!([]));
    let why = site.cli.ok(&format!("explain {}", theirs["id"]));
    assert!(why.contains("waits for an agent (p1: it has never connected)"), "{why}");
    let verdict = format!("it is {}, the image is {}", tests::arch(), foreign());
    assert!(why.contains(&verdict), "each agent's own reason: {why}");
    for build in [&ours, &theirs] {
        site.cli.ok(&format!("builds cancel {}", build["id"]));
    }
}

/// Repositories, kernels and drivers of the image's architecture, and nothing of the other's.
fn resolves_against_its_own_medium(site: &Site, osimage: &str, medium: &Medium) {
    let plan = site.cli.json(&format!("resolve {osimage}"));
    assert_eq!((&plan["arch"], &plan["warnings"]), (&json!(medium.arch()), &json!([])));
    let tree = site.install_dir().join(medium.tree()).display().to_string();
    let repositories = plan["repositories"].as_array().unwrap();
    let urls: Vec<&str> = repositories.iter().map(|repository| text(repository, "url")).collect();
    assert!(urls.len() == 2 && urls.iter().all(|url| url.starts_with(&format!("file://{tree}/"))), "{urls:?}");
    let drivers = plan["drivers"]["load"].as_array().unwrap();
    assert!(drivers.contains(&json!("virtio_net")));
    assert_eq!(drivers.contains(&json!("ibmveth")), medium.arch() == "ppc64le", "{drivers:?}");
    let kernel = format!("{}.{}", medium.package("kernel-core").version_release(), medium.arch());
    site.cli.run(&format!("resolve {osimage} --set kernelver=1.0")).exited(3).says(&kernel);
}
