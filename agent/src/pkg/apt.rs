//! What apt and mmdebstrap are told. Pure: a plan's repositories in, text and arguments out.
//!
//! apt runs on the node, against the image (`Dir` is the image, dpkg is run in a chroot by apt itself). So the
//! node's own ways to a mirror (https, a proxy) work, and nothing of them is left in the image.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use model::arch::Arch;
use model::plan::{Repository, RepositoryTrust};

/// Options of the node's own apt that say how to reach a mirror and what to make of its dates. The rest of
/// `Acquire` (languages, index compression) is the image's own affair.
const CARRIED: [&str; 10] = [
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Max-ValidTime",
    "Acquire::Min-ValidTime",
    "Acquire::Retries",
    "Acquire::ForceIPv4",
    "Acquire::ForceIPv6",
    "Acquire::http",
    "Acquire::https",
    "Acquire::Queue-Mode",
];

/// Lists without translations: they are half of what an update fetches, and the image keeps no lists.
const LEAN: &str = "Acquire::Languages \"none\";";

/// A repository with the key file that its trust asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source<'a> {
    /// As the plan has it.
    pub repository: &'a Repository,
    /// The keyring on the node; `None` where nothing is checked.
    pub keyring: Option<PathBuf>,
}

impl Source<'_> {
    /// The `sources.list` line for the build. Local repositories are copied from: dpkg, which runs in the image,
    /// couldn't reach them otherwise.
    pub fn line(&self) -> String {
        let url = &self.repository.url;
        let url = url.strip_prefix("file://").map_or_else(|| url.clone(), |path| format!("copy://{path}"));
        let trust = match &self.keyring {
            Some(keyring) => format!("[signed-by={}] ", keyring.display()),
            None => "[trusted=yes] ".to_owned(),
        };
        self.write(&trust, &url)
    }

    /// The line that stays in the image; `None` for what a booted node can't reach.
    pub fn kept_line(&self) -> Option<String> {
        let trust = match self.repository.trust {
            RepositoryTrust::Distribution | RepositoryTrust::Medium { .. } => String::new(),
            RepositoryTrust::Unsigned => "[trusted=yes] ".to_owned(),
            RepositoryTrust::Key { .. } => format!("[signed-by={}] ", kept_key(self.keyring.as_deref()?).display()),
        };
        self.repository.local_path().is_none().then(|| self.write(&trust, &self.repository.url))
    }

    fn write(&self, trust: &str, url: &str) -> String {
        let mut words = vec![format!("deb {trust}{url}"), self.repository.suite.clone()];
        words.extend(self.repository.components.iter().cloned());
        words.join(" ")
    }
}

/// Where a key of the plan stands in the image.
pub fn kept_key(keyring: &Path) -> PathBuf {
    Path::new("/etc/apt/keyrings").join(keyring.file_name().unwrap_or_default())
}

/// The keyrings of a distribution by the letters of its `osvers`, as Debian and Ubuntu name their packages.
pub fn distribution_keyrings(osvers: &str) -> Vec<(&'static str, &'static str)> {
    let debian = ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring");
    let ubuntu = ("/usr/share/keyrings/ubuntu-archive-keyring.gpg", "ubuntu-keyring");
    match osvers.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') {
        "ubuntu" => vec![ubuntu],
        "debian" => vec![debian],
        _ => vec![debian, ubuntu],
    }
}

/// Of `apt-config dump`, the options that the build needs too.
pub fn carried_options(dump: &str) -> Vec<String> {
    let belongs = |name: &str| {
        let under =
            |option: &&str| name.strip_prefix(*option).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        CARRIED.iter().any(under)
    };
    let lines = dump.lines().filter(|line| {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        belongs(name) && value != "\"\";"
    });
    lines.map(str::to_owned).chain([LEAN.to_owned()]).collect()
}

/// The arguments of mmdebstrap.
#[derive(Debug)]
pub struct Bootstrap<'a> {
    /// The image's architecture.
    pub arch: Arch,
    /// The suite of the base repository.
    pub suite: &'a str,
    /// The first pass.
    pub include: &'a [&'a str],
    /// What the build is made from.
    pub sources: &'a [Source<'a>],
    /// From [`carried_options`].
    pub options: &'a [String],
    /// The folder to fill.
    pub root: &'a Path,
}

impl Bootstrap<'_> {
    /// All arguments in order.
    pub fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> =
            ["--mode=root", "--variant=minbase", "--format=directory", "--verbose"].map(Into::into).into();
        args.push(format!("--architectures={}", self.arch.debian()).into());
        // A torn tree is thrown away, never repaired; so nothing has to reach the disk on the way.
        args.push("--dpkgopt=force-unsafe-io".into());
        // The agent knows which emulation it may use; mmdebstrap would ask for arch-test.
        args.push("--skip=check/qemu".into());
        args.extend(self.options.iter().map(|option| format!("--aptopt={}", option.trim_end_matches(';')).into()));
        if !self.include.is_empty() {
            args.push(format!("--include={}", self.include.join(",")).into());
        }
        args.push(self.suite.into());
        args.push(self.root.into());
        args.extend(self.sources.iter().map(|source| source.line().into()));
        args
    }
}

/// The configuration file for apt on the node working on the image (`APT_CONFIG`).
pub fn config(root: &Path, work: &Path, arch: Arch, options: &[String]) -> String {
    let (root, work) = (root.display(), work.display());
    let arch = arch.debian();
    let mut lines = vec![
        format!("APT::Architecture \"{arch}\";"),
        format!("APT::Architectures {{ \"{arch}\"; }};"),
        "APT::Install-Recommends \"false\";".to_owned(),
        format!("Dir \"{root}/\";"),
        format!("Dir::Etc::SourceList \"{work}/sources.list\";"),
        format!("Dir::Etc::SourceParts \"{work}/none\";"),
        // The image's own settings may name helpers that only work inside it.
        format!("Dir::Etc::Parts \"{work}/none\";"),
        "Dir::Etc::Trusted \"/etc/apt/trusted.gpg\";".to_owned(),
        "Dir::Etc::TrustedParts \"/etc/apt/trusted.gpg.d/\";".to_owned(),
        "Dir::Bin::methods \"/usr/lib/apt/methods\";".to_owned(),
        format!("DPkg::Chroot-Directory \"{root}\";"),
        "DPkg::Use-Pty \"false\";".to_owned(),
        "DPkg::Options { \"--force-confdef\"; \"--force-confold\"; \"--force-unsafe-io\"; };".to_owned(),
    ];
    lines.extend(options.iter().cloned());
    lines.join("\n") + "\n"
}

/// Whether a name can be handed to apt.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || ".+-:=/~*^_".contains(c))
}

/// What keeps every kernel as it is while the rest is brought up to date.
pub const KEEP_KERNELS: &str =
    "Package: linux-image-* linux-headers-* linux-modules-*\nPin: version *\nPin-Priority: -1\n";

/// `apt-get`'s arguments for bringing everything up to date.
pub const UPDATE_ARGS: [&str; 3] = ["--yes", "--no-install-recommends", "dist-upgrade"];

/// `apt-get`'s arguments for installing.
pub fn install_args<'a>(names: &[&'a str]) -> Vec<&'a str> {
    ["--yes", "--no-install-recommends", "install", "--"].into_iter().chain(names.iter().copied()).collect()
}

/// `apt-get`'s arguments for removing.
pub fn remove_args<'a>(names: &[&'a str]) -> Vec<&'a str> {
    ["--yes", "--allow-remove-essential", "purge", "--"].into_iter().chain(names.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::plan::Content;

    fn repository(url: &str, suite: &str, trust: RepositoryTrust) -> Repository {
        let components = if suite.ends_with('/') { Vec::new() } else { vec!["main".to_owned(), "contrib".to_owned()] };
        Repository {
            url: url.to_owned(),
            suite: suite.to_owned(),
            components,
            trust,
            source: url.to_owned(),
            subdir: None,
        }
    }

    #[test]
    fn each_trust_and_place_has_its_line() {
        let key = RepositoryTrust::Key { path: "/srv/site.gpg".into(), content: Content::Hex(String::new()) };
        let ring = Some(PathBuf::from("/scratch/keys/site.gpg"));
        for (url, suite, trust, keyring, line, kept) in [
            (
                "http://deb.example.com/debian",
                "bookworm",
                RepositoryTrust::Distribution,
                Some(PathBuf::from("/usr/share/keyrings/d.gpg")),
                "deb [signed-by=/usr/share/keyrings/d.gpg] http://deb.example.com/debian bookworm main contrib",
                Some("deb http://deb.example.com/debian bookworm main contrib"),
            ),
            (
                "file:///install/debian12/x86_64",
                "bookworm",
                RepositoryTrust::Unsigned,
                None,
                "deb [trusted=yes] copy:///install/debian12/x86_64 bookworm main contrib",
                None,
            ),
            (
                "https://site.example.com/flat",
                "./",
                key,
                ring,
                "deb [signed-by=/scratch/keys/site.gpg] https://site.example.com/flat ./",
                Some("deb [signed-by=/etc/apt/keyrings/site.gpg] https://site.example.com/flat ./"),
            ),
        ] {
            let repository = repository(url, suite, trust);
            let source = Source { repository: &repository, keyring };
            assert_eq!(source.line(), line);
            assert_eq!(source.kept_line().as_deref(), kept);
        }
    }

    #[test]
    fn the_nodes_way_to_a_mirror_is_carried_and_nothing_else() {
        let dump = "Acquire \"\";\nAcquire::Languages:: \"none\";\nAcquire::Check-Valid-Until \"false\";\n\
            Acquire::http::Proxy \"http://proxy.example.com:3128\";\nAcquire::httpx \"1\";\nAcquire::http \"\";\nAPT::Get::Show \"1\";\n";
        let expected =
            ["Acquire::Check-Valid-Until \"false\";", "Acquire::http::Proxy \"http://proxy.example.com:3128\";", LEAN];
        assert_eq!(carried_options(dump), expected);
    }

    #[test]
    fn mmdebstrap_gets_the_first_pass_and_every_source() {
        let repository = repository("http://deb.example.com/debian", "bookworm", RepositoryTrust::Unsigned);
        let sources = [Source { repository: &repository, keyring: None }];
        let options = [LEAN.to_owned()];
        let bootstrap = Bootstrap {
            arch: Arch::Ppc64le,
            suite: "bookworm",
            include: &["bash", "ssh-server^"],
            sources: &sources,
            options: &options,
            root: Path::new("/s/rootimg"),
        };
        assert_eq!(
            bootstrap.args(),
            [
                "--mode=root",
                "--variant=minbase",
                "--format=directory",
                "--verbose",
                "--architectures=ppc64el",
                "--dpkgopt=force-unsafe-io",
                "--skip=check/qemu",
                "--aptopt=Acquire::Languages \"none\"",
                "--include=bash,ssh-server^",
                "bookworm",
                "/s/rootimg",
                "deb [trusted=yes] http://deb.example.com/debian bookworm main contrib",
            ]
        );
    }

    #[test]
    fn keyrings_go_by_the_letters_of_osvers() {
        assert_eq!(distribution_keyrings("ubuntu22.04")[0].1, "ubuntu-keyring");
        assert_eq!(distribution_keyrings("debian12").len(), 1);
        assert_eq!(distribution_keyrings("sitelinux1").len(), 2);
    }
}
