//! The agent's own executable as a child in namespaces of its own: what looks at the install root, and what builds.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::exec::SEARCH_PATH;

/// `program` through `unshare` (util-linux), with these of its options; nothing mounted there is seen outside. Its
/// environment is cleared, all three of its streams are pipes, it leads a process group of its own and is killed
/// when it is dropped.
pub fn unshared(options: &[&str], program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).args(options).arg("--").arg(program);
    command.env_clear().env("PATH", SEARCH_PATH).env("LANG", "C.UTF-8").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    command
}
