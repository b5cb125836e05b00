//! Scriptlets that failed, as dnf's and yum's output tells of them. Most leave the exit status 0, so every line is
//! looked at as it comes: the last ones alone would not do for a transaction of hundreds of packages.
//!
//! rpm says `warning: %post(name-1-1.noarch) scriptlet failed, exit status 4`, which a scriptlet could print too;
//! dnf then says `Error in POSTIN scriptlet in rpm package name` (and names the wrong package for file triggers), yum
//! `Non-fatal POSTIN scriptlet failure in rpm package name`. Only both together count, or the second alone.

/// How many lines of a scriptlet are kept for the message.
const KEPT: usize = 5;

/// A scriptlet that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The package's name, without version.
    pub package: String,
    /// `%post`, `%transfiletriggerin`, …
    pub scriptlet: String,
    /// `exit status 4`; empty if nobody said.
    pub how: String,
    /// Its last lines.
    pub lines: Vec<String>,
}

impl Failed {
    /// Whether the package was not installed, or not removed, because of it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.scriptlet.as_str(), "%pre" | "%prein" | "%preun" | "%pretrans" | "%preuntrans")
    }

    /// In one sentence.
    pub fn sentence(&self) -> String {
        let how = if self.how.is_empty() { String::new() } else { format!(" with {}", self.how) };
        let lines = if self.lines.is_empty() { String::new() } else { format!(": {}", self.lines.join(" / ")) };
        format!("scriptlet {} of package `{}` failed{how}{lines}", self.scriptlet, self.package)
    }
}

/// Listens to a transaction.
#[derive(Debug, Default)]
pub struct Listener {
    /// What has been found.
    pub failed: Vec<Failed>,
    /// What the scriptlet that runs has said so far.
    lines: Vec<String>,
    /// What rpm has just said of it.
    said: Option<Said>,
}

#[derive(Debug)]
struct Said {
    package: String,
    scriptlet: String,
    how: String,
}

impl Listener {
    /// Takes one line.
    pub fn hear(&mut self, line: &str) {
        let text = line.trim();
        let text = text.strip_prefix(">>>").map_or(text, str::trim_start);
        if let Some(said) = said_by_rpm(text) {
            self.said = Some(said);
        } else if let Some((kind, package)) = told_by_manager(text) {
            self.found(kind, package);
        } else if is_progress(text) {
            self.lines.clear();
            self.said = None;
        } else if !text.is_empty() && !is_noise(text) {
            // What rpm said last was not followed by its manager's word: a scriptlet has printed it.
            self.said = None;
            self.lines.push(text.to_owned());
            if self.lines.len() > KEPT {
                self.lines.remove(0);
            }
        }
    }

    fn found(&mut self, kind: &str, package: &str) {
        let said = self.said.take();
        let by_kind = || scriptlet_of(kind).to_owned();
        let (scriptlet, how) =
            said.as_ref().map_or_else(|| (by_kind(), String::new()), |said| (said.scriptlet.clone(), said.how.clone()));
        // rpm knows the package's name as part of a longer one.
        let package = match said {
            Some(said) if !is_of(&said.package, package) => name_of(&said.package).to_owned(),
            _ => package.to_owned(),
        };
        let lines = std::mem::take(&mut self.lines);
        let found = Failed { package, scriptlet, how, lines };
        if !self.failed.contains(&found) {
            self.failed.push(found);
        }
    }
}

/// `warning: %post(name-1-1.noarch) scriptlet failed, exit status 4`, and how lua says it.
fn said_by_rpm(line: &str) -> Option<Said> {
    let line = ["warning: ", "error: ", "[RPM] "].iter().find_map(|front| line.strip_prefix(front)).unwrap_or(line);
    if let Some(rest) = line.strip_prefix("lua script failed: [string \"") {
        let (named, rest) = rest.split_once("\"]:")?;
        let (scriptlet, package) = scriptlet_and_package(named)?;
        let how = rest.split_once(": ").map_or(rest, |(_, words)| words);
        return Some(Said { package, scriptlet, how: format!("`{how}`") });
    }
    let (named, how) = line.split_once(" scriptlet failed")?;
    let (scriptlet, package) = scriptlet_and_package(named)?;
    Some(Said { package, scriptlet, how: how.trim_start_matches([',', ' ']).to_owned() })
}

fn scriptlet_and_package(named: &str) -> Option<(String, String)> {
    let (scriptlet, package) = named.strip_suffix(')')?.split_once('(')?;
    let scriptlet = if scriptlet == "%prein" { "%pre" } else { scriptlet };
    scriptlet.starts_with('%').then(|| (scriptlet.to_owned(), package.to_owned()))
}

/// What dnf 4, yum 3 and dnf 5 say of it: the kind of scriptlet and the package.
fn told_by_manager(line: &str) -> Option<(&str, &str)> {
    let after = |front: &str, middle: &str| line.strip_prefix(front)?.split_once(middle);
    let whole = after("Error in ", " scriptlet in rpm package ")
        .or_else(|| after("Non-fatal ", " scriptlet failure in rpm package "));
    let dnf5 = || after("Non-critical error in ", " scriptlet: ").or_else(|| after("Error in ", " scriptlet: "));
    whole.or_else(|| dnf5().map(|(kind, package)| (kind, name_of(package))))
}

fn scriptlet_of(kind: &str) -> &str {
    match kind {
        "PREIN" | "pre-install" => "%pre",
        "POSTIN" | "post-install" => "%post",
        "PREUN" | "pre-uninstall" => "%preun",
        "POSTUN" | "post-uninstall" => "%postun",
        "PRETRANS" | "pre-transaction" => "%pretrans",
        "POSTTRANS" | "post-transaction" => "%posttrans",
        _ => "of a trigger",
    }
}

/// Whether `name-1-1.noarch` is of package `name`.
fn is_of(whole: &str, name: &str) -> bool {
    name_of(whole) == name
}

/// The name of `name-version-release.arch`, be it with an epoch.
fn name_of(whole: &str) -> &str {
    let without_release = whole.rsplit_once('-').map_or(whole, |(front, _)| front);
    without_release.rsplit_once('-').map_or(without_release, |(name, _)| name)
}

/// The manager's own lines about what it does next.
fn is_progress(line: &str) -> bool {
    let front = line.split(':').next().unwrap_or_default().trim();
    let known = [
        "Preparing",
        "Installing",
        "Upgrading",
        "Reinstalling",
        "Downgrading",
        "Obsoleting",
        "Erasing",
        "Removing",
        "Cleanup",
        "Running scriptlet",
        "Verifying",
        "Updating",
    ];
    known.contains(&front) && line.contains(" : ") || line.starts_with("Running scriptlet:")
}

/// Complaints of the shell about the image's locales, in front of everything that a scriptlet says.
fn is_noise(line: &str) -> bool {
    line.contains("warning: setlocale:") || line == "Scriptlet output:"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Vec<(String, String, String, String)> {
        let mut listener = Listener::default();
        text.lines().for_each(|line| listener.hear(line));
        let tuple = |found: Failed| (found.package, found.scriptlet, found.how, found.lines.join("/"));
        listener.failed.into_iter().map(tuple).collect()
    }

    fn one(package: &str, scriptlet: &str, how: &str, lines: &str) -> Vec<(String, String, String, String)> {
        vec![(package.into(), scriptlet.into(), how.into(), lines.into())]
    }

    #[test]
    fn what_dnf_yum_and_rpm_say_is_put_together() {
        let post = "  Installing       : bad-post-1-1.noarch          1/1 \n  Running scriptlet: bad-post-1-1.noarch   1/1 \n\
            /bin/sh: warning: setlocale: LC_ALL: cannot change locale (C.UTF-8)\nin post\nerr post\n\
            warning: %post(bad-post-1-1.noarch) scriptlet failed, exit status 4\n\n\
            Error in POSTIN scriptlet in rpm package bad-post\n  Verifying        : bad-post-1-1.noarch  1/1\n";
        assert_eq!(heard(post), one("bad-post", "%post", "exit status 4", "in post/err post"));
        let pre = "in pre\nerror: %prein(badpre-1-1.noarch) scriptlet failed, exit status 3\nError in PREIN scriptlet in rpm package badpre\n";
        assert_eq!(heard(pre), one("badpre", "%pre", "exit status 3", "in pre"));
        let lua = "error: lua script failed: [string \"%post(luabad-1-1.noarch)\"]:1: lua is bad\n\nError in POSTIN scriptlet in rpm package luabad\n";
        assert_eq!(heard(lua), one("luabad", "%post", "`lua is bad`", ""));
        // dnf gives a file trigger's failure to the package that came last.
        let trigger = "in trigger\nwarning: %transfiletriggerin(f-trig-1-1.noarch) scriptlet failed, exit status 8\nError in <unknown> scriptlet in rpm package innocent\n";
        assert_eq!(heard(trigger), one("f-trig", "%transfiletriggerin", "exit status 8", "in trigger"));
        let killed = "warning: %post(x-1:2-3.el9.x86_64) scriptlet failed, signal 9\nError in POSTIN scriptlet in rpm package x\n";
        assert_eq!(heard(killed), one("x", "%post", "signal 9", ""));
        let yum = "  Installing : old-1-1.noarch      1/1 \nsaid\nwarning: %post(old-1-1.noarch) scriptlet failed, exit status 1\nNon-fatal POSTIN scriptlet failure in rpm package old-1-1.noarch\n";
        assert_eq!(heard(yum).len(), 1);
        assert_eq!(heard(yum)[0].1, "%post");
        assert_eq!(heard("Error in POSTIN scriptlet in rpm package bare\n"), one("bare", "%post", "", ""));
    }

    #[test]
    fn what_a_scriptlet_prints_itself_does_not_count() {
        let spoken = "  Running scriptlet: good-1-1.noarch     1/1 \nwarning: %post(innocent-1-1.noarch) scriptlet failed, exit status 1\n  Verifying        : good-1-1.noarch   1/1\n";
        assert_eq!(heard(spoken), []);
        // And what came before another package's own failure is not taken for it.
        let later =
            format!("{spoken}  Running scriptlet: b-1-1.noarch   1/1 \nError in POSTIN scriptlet in rpm package b\n");
        assert_eq!(heard(&later), one("b", "%post", "", ""));
    }

    #[test]
    fn what_kept_a_package_out_is_fatal() {
        let mut listener = Listener::default();
        listener.hear("error: %preun(x-1-1.noarch) scriptlet failed, exit status 6");
        listener.hear("Error in PREUN scriptlet in rpm package x");
        assert!(listener.failed[0].is_fatal());
        assert_eq!(listener.failed[0].sentence(), "scriptlet %preun of package `x` failed with exit status 6");
    }
}
