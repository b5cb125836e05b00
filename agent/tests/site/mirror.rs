//! Where this machine gets its packages from.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

/// The machine's own mirror: apt knows it.
pub(crate) fn mirror() -> String {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.ends_with(" bookworm main")).expect("the machine's apt has bookworm");
    line.split(' ').next().unwrap().trim_end_matches('/').to_owned()
}
