//! apt for one architecture: this machine's own lists, or a root beside them with lists of its own.
//!
//! Another architecture's packages come from the mirror that this machine uses, of Debian's main suite alone: mirrors
//! are not always whole in the others. This machine's dpkg and its lists stay as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::table::Platform;
use super::tool::run;

/// Who signs Debian's lists, whatever this machine's own release is.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How apt is asked.
#[derive(Debug)]
pub(super) struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// For the packages of a platform. Lists of its own are kept below `folder`, and brought up to date.
    pub(super) fn of(platform: &Platform, folder: &Path) -> Self {
        let own = run(Command::new("dpkg").arg("--print-architecture"));
        if platform.updates && own.trim() == platform.debian && crate::debian().0 == platform.suite {
            return Self { options: Vec::new() };
        }
        let root = folder.join(format!("apt-{}-{}", platform.suite, platform.debian));
        let apt = Self::beside(&root, &platform.debian);
        let (mirror, suite) = (mirror(), &platform.suite);
        write(&root, "sources.list", &format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"));
        run(apt.command("apt-get").args(["-qq", "-o", "Acquire::Retries=3", "update"]));
        apt
    }

    /// With everything that apt reads and writes below a folder, but for this machine's way to its mirrors.
    fn beside(root: &Path, architecture: &str) -> Self {
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        }
        // Nothing is installed.
        write(root, "status", "");
        let place = |option: &str, name: &str| format!("{option}={}", root.join(name).display());
        let options = vec![
            place("Dir::State", "state"),
            place("Dir::State::status", "status"),
            place("Dir::Cache", "cache"),
            place("Dir::Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            // apt's own user could not write below a folder that only root can enter.
            "APT::Sandbox::User=root".to_owned(),
        ];
        Self { options }
    }

    /// One of apt's programs, with this process's environment, which may name a proxy.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.options.iter().for_each(|option| {
            command.arg("-o").arg(option);
        });
        command
    }
}

/// The mirror of Debian that this machine's apt names.
fn mirror() -> String {
    let targets = ["--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian"];
    let said = run(Command::new("apt-get").arg("indextargets").args(targets));
    let mirrors: BTreeSet<&str> = said.lines().collect();
    (*mirrors.first().expect("apt names no mirror of Debian's; run apt-get update")).to_owned()
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
