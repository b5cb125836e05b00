//! What yum 3 is told, for EL 7 on a node that has no dnf. Proven by these tables alone: there is no such node here.

use std::ffi::OsString;
use std::path::Path;

use super::dnf::{Kernels, Settings, Verb};

/// The configuration file.
pub fn config(settings: &Settings<'_>) -> String {
    let (nowhere, cache) = (settings.nowhere.display(), settings.cache.display());
    let mut lines = vec![
        "[main]".to_owned(),
        format!("reposdir={nowhere}"),
        "plugins=0".to_owned(),
        format!("cachedir={cache}/cache"),
        format!("logfile={cache}/log/yum.log"),
        "metadata_expire=never".to_owned(),
        "gpgcheck=1".to_owned(),
        // Without it a name that is in no repository is a line of output and nothing else.
        "skip_missing_names_on_install=0".to_owned(),
        "obsoletes=1".to_owned(),
        "diskspacecheck=1".to_owned(),
        "protected_multilib=0".to_owned(),
        "deltarpm=0".to_owned(),
        "color=never".to_owned(),
    ];
    lines.extend(settings.carried.iter().cloned());
    let sections: String = settings.sections.iter().map(|section| format!("\n{}", section.text())).collect();
    lines.join("\n") + "\n" + &sections
}

/// All arguments of yum.
pub fn args(verb: Verb<'_>, config: &Path, root: &Path, releasever: &str) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["-y".into(), "-c".into(), config.into()];
    args.push(format!("--installroot={}", root.display()).into());
    args.push(format!("--releasever={releasever}").into());
    let names = match verb {
        // yum has no words for the kernels that there are; its lists are the nearest.
        Verb::Refresh | Verb::Kernels => {
            args.push("makecache".into());
            &[]
        }
        Verb::Install(names) => {
            args.push("install".into());
            names
        }
        Verb::Remove(names) => {
            args.push("erase".into());
            names
        }
        Verb::Update(kernels) => {
            if kernels == Kernels::Kept {
                args.push("--exclude=kernel*".into());
            }
            args.push("update".into());
            &[]
        }
    };
    args.extend(names.iter().map(OsString::from));
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_its_command_line() {
        let front = "-y -c /w/yum.conf --installroot=/s/rootimg --releasever=7";
        for (verb, rest) in [
            (Verb::Refresh, "makecache"),
            (Verb::Install(&["bash", "@core", "@^minimal"]), "install bash @core @^minimal"),
            (Verb::Remove(&["firewalld"]), "erase firewalld"),
            (Verb::Update(Kernels::Too), "update"),
            (Verb::Update(Kernels::Kept), "--exclude=kernel* update"),
        ] {
            let args = args(verb, Path::new("/w/yum.conf"), Path::new("/s/rootimg"), "7");
            let line = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
            assert_eq!(line, format!("{front} {rest}"));
        }
    }

    #[test]
    fn a_missing_name_fails_the_command() {
        let settings = Settings {
            nowhere: Path::new("/w/none"),
            cache: Path::new("/run/imgctl-dnf"),
            platform: None,
            carried: &[],
            sections: &[],
        };
        let text = config(&settings);
        assert!(text.contains("skip_missing_names_on_install=0\n") && text.contains("plugins=0\n"), "{text}");
    }
}
