//! Osimages of the machine's own distribution, from the mirrors that the machine itself uses.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// The machine's architecture, as `uname -m` says.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        // Rust has one name for both byte orders.
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        arch => arch,
    }
}

/// `VERSION_CODENAME` and `VERSION_ID` of the machine's Debian.
pub fn debian() -> (String, String) {
    let release = fs::read_to_string("/etc/os-release").expect("there is an os-release");
    let field = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)).expect("it is Debian's");
        line.trim_matches('"').to_owned()
    };
    (field("VERSION_CODENAME="), field("VERSION_ID="))
}

/// The machine's own repositories as pkgdir entries, those of its release and its security updates.
pub fn mirrors() -> String {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output()
        .expect("there is an apt-get");
    let (codename, _) = debian();
    let text = String::from_utf8(output.stdout).expect("apt writes UTF-8");
    let ours = |line: &&str| {
        let suite = line.split(' ').nth(1);
        suite == Some(&codename) || suite == Some(&format!("{codename}-security"))
    };
    let lines: BTreeSet<&str> = text.lines().filter(ours).collect();
    assert!(!lines.is_empty(), "apt has no mirror of {codename}; run apt-get update");
    lines.into_iter().collect::<Vec<_>>().join(",")
}
