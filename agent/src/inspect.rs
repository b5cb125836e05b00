//! Facts about this node: what the coordinator matches builds by, and what stands in an image's record.

mod databases;

use std::fs;
use std::time::Duration;

use model::agent::InstallView;
use model::emulation::Emulation;
use model::plan::RpmDatabase;
use proto::v1;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::emulation::own;
use crate::sys::exec::Cmd;
use crate::sys::probe;

/// The tools that a build may use, each with the arguments that make it tell its version.
const TOOLS: [(&str, &[&str]); 9] = [
    ("mmdebstrap", &["--version"]),
    ("debootstrap", &["--version"]),
    ("apt-get", &["--version"]),
    ("dpkg-query", &["--version"]),
    ("dnf", &["--version"]),
    ("yum", &["--version"]),
    ("rpm", &["--version"]),
    ("zypper", &["--version"]),
    ("unshare", &["--version"]),
];

/// How often a program that was killed is asked again, and after how long.
const ASKED_AGAIN: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// What does not change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// As `uname -m` says.
    pub arch: String,
    /// `debian12`.
    pub os: String,
    /// Of the node; never one for an image.
    pub kernel: String,
    /// What it can build with.
    pub package_systems: Vec<String>,
    /// `mmdebstrap 1.3.5`.
    pub tools: Vec<String>,
    /// In all.
    pub memory_bytes: u64,
    /// That this process may use.
    pub cpus: u32,
    /// Of the agent.
    pub version: String,
    /// What may be built under emulation, as tried out at the start.
    #[serde(default)]
    pub emulations: Vec<Emulation>,
    /// The processor's architecture, where the agent itself runs under emulation.
    #[serde(default)]
    pub emulated_on: Option<String>,
}

impl Facts {
    /// Looks around, once, at start. Runs programs, so it belongs on a blocking thread.
    pub fn gather() -> Self {
        let uname = rustix::system::uname();
        let tools: Vec<String> = TOOLS.iter().filter_map(|(name, args)| tool(name, args)).collect();
        let memory = rustix::system::sysinfo();
        Self {
            arch: uname.machine().to_string_lossy().into_owned(),
            os: os(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            kernel: uname.release().to_string_lossy().into_owned(),
            package_systems: package_systems(&tools, &rpm_databases(&tools)),
            tools,
            memory_bytes: memory.totalram as u64 * u64::from(memory.mem_unit),
            cpus: std::thread::available_parallelism()
                .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            emulations: Vec::new(),
            emulated_on: own::emulated_on(),
        }
    }

    /// Whether a tool was found.
    pub fn has(&self, tool: &str) -> bool {
        has(&self.tools, tool)
    }

    /// As the coordinator hears it, with what changes from time to time. Not with what the node sees of the install
    /// root, which may not answer: [`crate::install_root`] knows that.
    pub fn to_wire(&self, config: &Config) -> v1::AgentFacts {
        let (free, total) = probe::space(&config.scratch()).unwrap_or_default();
        v1::AgentFacts {
            arch: self.arch.clone(),
            os: self.os.clone(),
            kernel: self.kernel.clone(),
            package_systems: self.package_systems.clone(),
            tools: self.tools.clone(),
            scratch_free_bytes: free,
            scratch_total_bytes: total,
            memory_bytes: self.memory_bytes,
            cpus: self.cpus,
            install: InstallView::None.as_str().to_owned(),
            slots: config.slots.into(),
            version: self.version.clone(),
            conditions: Vec::new(),
            emulations: self.emulations.iter().cloned().map(Into::into).collect(),
            emulated_on: self.emulated_on.clone().unwrap_or_default(),
        }
    }
}

fn has(tools: &[String], tool: &str) -> bool {
    tools.iter().any(|known| known.split(' ').next() == Some(tool))
}

fn package_systems(tools: &[String], databases: &[RpmDatabase]) -> Vec<String> {
    let mut systems = Vec::new();
    let bootstrap = has(tools, "mmdebstrap") || has(tools, "debootstrap");
    if bootstrap && has(tools, "apt-get") && has(tools, "dpkg-query") {
        systems.push("apt");
    }
    if has(tools, "rpm") && (has(tools, "dnf") || has(tools, "yum")) {
        // dnf builds what yum does.
        systems.extend(has(tools, "dnf").then_some("dnf"));
        systems.push("yum");
        systems.extend(databases.iter().map(|database| database.capability()));
    }
    systems.into_iter().map(str::to_owned).collect()
}

fn rpm_databases(tools: &[String]) -> Vec<RpmDatabase> {
    if has(tools, "rpm") { databases::writable() } else { Vec::new() }
}

/// Name and version; `None` where it isn't installed. zypper is told of though no stage uses it yet.
fn tool(name: &str, args: &[&str]) -> Option<String> {
    let output = answer(&Cmd::new(name).args(args))?;
    let text = String::from_utf8_lossy(&output);
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Some(version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
}

/// What a program says of itself. One that is killed, because memory is short, is asked again: an agent that thinks it
/// isn't there would build in another way, or not at all, for as long as it runs.
fn answer(cmd: &Cmd) -> Option<Vec<u8>> {
    for _ in 0..ASKED_AGAIN {
        match cmd.capture() {
            Err(error) if error.was_killed() => tracing::warn!("{error}; asking again"),
            answer => return answer.ok(),
        }
        std::thread::sleep(PAUSE);
    }
    cmd.capture().ok()
}

/// `ID` and `VERSION_ID`, joined.
fn os(release: &str) -> String {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned()).unwrap_or_default()
    };
    value("ID") + &value("VERSION_ID")
}

/// The one-minute load average, times 100.
pub fn load_hundredths() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or_default();
    (load * 100.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_os_is_written_as_osvers_are() {
        for (release, expected) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n", "debian12"),
            ("ID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"9.4\"\n", "rhel9.4"),
            ("", ""),
        ] {
            assert_eq!(os(release), expected);
        }
    }

    #[test]
    fn apt_needs_something_to_bootstrap_with() {
        let tools = |names: &[&str]| names.iter().map(|name| format!("{name} 1.0")).collect::<Vec<_>>();
        assert_eq!(package_systems(&tools(&["apt-get", "dpkg-query", "debootstrap"]), &[]), ["apt"]);
        assert!(package_systems(&tools(&["apt-get", "dpkg-query"]), &[]).is_empty());
        assert!(package_systems(&tools(&["mmdebstrap"]), &[]).is_empty());
    }

    #[test]
    fn rpm_systems_come_with_what_they_can_write() {
        let tools = |names: &[&str]| names.iter().map(|name| format!("{name} 4.0")).collect::<Vec<_>>();
        let found = package_systems(&tools(&["dnf", "rpm"]), &[RpmDatabase::Sqlite]);
        assert_eq!(found, ["dnf", "yum", "rpmdb-sqlite"]);
        assert_eq!(package_systems(&tools(&["yum", "rpm"]), &[RpmDatabase::Bdb]), ["yum", "rpmdb-bdb"]);
        assert!(package_systems(&tools(&["dnf"]), &[]).is_empty());
    }

    #[test]
    fn a_program_that_is_killed_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let cmd = |script: &str| Cmd::new("sh").args(["-c", script]).arg(folder.path().join("asked"));
        let second = "if [ -e \"$0\" ]; then echo tool 1.0; else touch \"$0\"; kill -9 $$; fi";
        assert_eq!(answer(&cmd(second)).as_deref(), Some(&b"tool 1.0\n"[..]));
        // One that fails by itself has said all there is.
        assert_eq!(answer(&cmd("echo x >> \"$0\"; exit 3")), None);
        assert_eq!(fs::read_to_string(folder.path().join("asked")).unwrap(), "x\n");
    }
}
