//! What dnf is told. Pure: a build's settings and sections in, text and arguments out.
//!
//! dnf runs on the node and works on the image (`--installroot`), with nothing of the node's own configuration but
//! the way to a mirror.

use std::ffi::OsString;
use std::path::Path;

use model::arch::Arch;

use super::ini::Section;

/// What dnf and yum are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb<'a> {
    /// Fetch the lists of every repository, or say which can't be read.
    Refresh,
    /// Tell the release of every kernel that there is, as `uname -r` would print it.
    Kernels,
    /// Install these, in one transaction.
    Install(&'a [&'a str]),
    /// Remove these.
    Remove(&'a [&'a str]),
    /// Bring everything up to date.
    Update(Kernels),
}

/// Whether an update may bring another kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// It may.
    Too,
    /// The one that was asked for stays (`kernelver`).
    Kept,
}

/// What a configuration is made of.
#[derive(Debug)]
pub struct Settings<'a> {
    /// A folder that is not there, so that nothing is read from it.
    pub nowhere: &'a Path,
    /// Where lists and packages are kept, and where the program logs, as seen from inside the image.
    pub cache: &'a Path,
    /// What module streams are made for.
    pub platform: Option<&'a str>,
    /// From the node's own configuration.
    pub carried: &'a [String],
    /// The repositories of the build.
    pub sections: &'a [Section<'a>],
}

/// The configuration file.
pub fn config(settings: &Settings<'_>) -> String {
    let (nowhere, cache) = (settings.nowhere.display(), settings.cache.display());
    let mut lines = vec![
        "[main]".to_owned(),
        // The node's own repositories, variables and plugins are the node's.
        format!("reposdir={nowhere}"),
        format!("varsdir={nowhere}"),
        "plugins=0".to_owned(),
        format!("cachedir={cache}/cache"),
        format!("logdir={cache}/log"),
        // Every pass of a build sees the same lists.
        "metadata_expire=-1".to_owned(),
        "gpgcheck=1".to_owned(),
        "skip_if_unavailable=0".to_owned(),
        "strict=1".to_owned(),
        "install_weak_deps=1".to_owned(),
        "diskspacecheck=1".to_owned(),
        // The kernel that the node runs has no meaning for the image.
        "protect_running_kernel=0".to_owned(),
        // Nor has what the node must not lose.
        "protected_packages=".to_owned(),
        "deltarpm=0".to_owned(),
        "countme=0".to_owned(),
        "color=never".to_owned(),
    ];
    lines.extend(settings.platform.map(|platform| format!("module_platform_id={platform}")));
    lines.extend(settings.carried.iter().cloned());
    let sections: String = settings.sections.iter().map(|section| format!("\n{}", section.text())).collect();
    lines.join("\n") + "\n" + &sections
}

/// All arguments of dnf. `foreign` is the image's architecture where the node's processor is of another: of itself dnf
/// would take packages of the node's.
pub fn args(verb: Verb<'_>, config: &Path, root: &Path, releasever: &str, foreign: Option<Arch>) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["-y".into(), "--config".into(), config.into()];
    args.push(format!("--installroot={}", root.display()).into());
    args.push(format!("--releasever={releasever}").into());
    args.extend(foreign.map(|arch| format!("--forcearch={arch}").into()));
    match verb {
        Verb::Refresh => args.push("makecache".into()),
        Verb::Kernels => {
            // dnf 5 puts no end to a line of its own.
            let format = "--queryformat=%{name} %{version}-%{release}.%{arch}\n";
            args.extend(["--quiet", "repoquery", format, "kernel", "kernel-*"].map(OsString::from));
        }
        Verb::Install(names) => push(&mut args, "install", names),
        Verb::Remove(names) => push(&mut args, "remove", names),
        Verb::Update(kernels) => {
            if kernels == Kernels::Kept {
                args.push("--exclude=kernel*".into());
            }
            args.push("upgrade".into());
        }
    }
    args
}

/// The releases of kernels in what [`Verb::Kernels`] prints. A kernel of another flavour (`kernel-64k-core`,
/// `kernel-rt`, `kernel-uek-core`) has the flavour at the end of its `uname -r`, or not, as its distribution likes.
pub fn releases(listing: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, release) in listing.lines().filter_map(|line| line.trim().split_once(' ')) {
        let Some(flavour) = flavour(name) else { continue };
        if !flavour.is_empty() {
            found.push(format!("{release}+{flavour}"));
        }
        found.push(release.to_owned());
    }
    found.sort();
    found.dedup();
    found
}

/// The flavour of a kernel's package, empty for the plain one; none for all that only goes with a kernel.
fn flavour(name: &str) -> Option<&str> {
    const BESIDE: [&str; 11] =
        ["abi", "bootwrapper", "cross", "devel", "doc", "headers", "modules", "rpm", "srpm", "tools", "uki"];
    if ["kernel", "kernel-core"].contains(&name) {
        return Some("");
    }
    let rest = name.strip_prefix("kernel-")?;
    let flavour = rest.strip_suffix("-core").unwrap_or(rest);
    (!flavour.contains('-') && !BESIDE.contains(&flavour)).then_some(flavour)
}

fn push(args: &mut Vec<OsString>, verb: &str, names: &[&str]) {
    args.extend([verb.into(), "--".into()]);
    args.extend(names.iter().map(OsString::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(verb: Verb<'_>) -> String {
        let args = args(verb, Path::new("/w/dnf.conf"), Path::new("/s/rootimg"), "9", None);
        args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_verb_has_its_command_line() {
        let front = "-y --config /w/dnf.conf --installroot=/s/rootimg --releasever=9";
        for (verb, rest) in [
            (Verb::Refresh, "makecache"),
            (Verb::Kernels, "--quiet repoquery --queryformat=%{name} %{version}-%{release}.%{arch}\n kernel kernel-*"),
            (Verb::Install(&["bash", "@core", "@nodejs:18"]), "install -- bash @core @nodejs:18"),
            (Verb::Remove(&["firewalld"]), "remove -- firewalld"),
            (Verb::Update(Kernels::Too), "upgrade"),
            (Verb::Update(Kernels::Kept), "--exclude=kernel* upgrade"),
        ] {
            assert_eq!(line(verb), format!("{front} {rest}"));
        }
    }

    #[test]
    fn an_image_of_another_architecture_gets_its_own_packages() {
        let args = args(Verb::Refresh, Path::new("/c"), Path::new("/r"), "9", Some(Arch::Ppc64le));
        assert!(args.contains(&"--forcearch=ppc64le".into()), "{args:?}");
    }

    #[test]
    fn kernels_of_every_flavour_are_kernels_and_what_goes_with_them_is_not() {
        let listing = "kernel 5.14.0-427.el9.x86_64\nkernel-core 5.14.0-427.el9.x86_64\n\n\
            kernel-64k-core 5.14.0-70.el9.aarch64\nkernel-rt 5.14.0-9.el9.x86_64\nkernel-uek-core 5.15.0-1.el9uek.x86_64\n\
            kernel-modules 1-1.x86_64\nkernel-modules-core 1-2.x86_64\nkernel-rt-devel 1-3.x86_64\n\
            kernel-tools-libs 1-4.x86_64\nkernel-headers 1-5.x86_64\nkernel-64k-modules-core 1-6.aarch64\nkernels 1-7.x86_64\n";
        let expected = [
            "5.14.0-427.el9.x86_64",
            "5.14.0-70.el9.aarch64",
            "5.14.0-70.el9.aarch64+64k",
            "5.14.0-9.el9.x86_64",
            "5.14.0-9.el9.x86_64+rt",
            "5.15.0-1.el9uek.x86_64",
            "5.15.0-1.el9uek.x86_64+uek",
        ];
        assert_eq!(releases(listing), expected);
    }

    #[test]
    fn nothing_of_the_node_is_read_but_the_way_to_a_mirror() {
        let carried = ["proxy=http://p:3128".to_owned()];
        let text = config(&Settings {
            nowhere: Path::new("/w/none"),
            cache: Path::new("/run/imgctl-dnf"),
            platform: Some("platform:el9"),
            carried: &carried,
            sections: &[],
        });
        for wanted in [
            "reposdir=/w/none\n",
            "varsdir=/w/none\n",
            "plugins=0\n",
            "skip_if_unavailable=0\n",
            "gpgcheck=1\n",
            "diskspacecheck=1\n",
            "protected_packages=\n",
            "module_platform_id=platform:el9\n",
            "proxy=http://p:3128\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert!(text.starts_with("[main]\n") && !text.contains("tsflags"));
    }
}
