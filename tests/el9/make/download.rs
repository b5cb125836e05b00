//! Debian packages from the mirror that this machine's apt uses, kept from one making to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::apt::Apt;
use super::control::Stanza;
use super::tool::{Workshop, run};

/// Where a package lies once it is downloaded, under the name that apt gives it.
pub(super) fn path(folder: &Path, stanza: &Stanza) -> PathBuf {
    let version = stanza.version.replace(':', "%3a");
    folder.join(format!("{}_{version}_{}.deb", stanza.package, stanza.architecture))
}

/// Downloads what is not there; removes what no package of these is. apt checks each against its signed lists.
pub(super) fn download(workshop: &Workshop, apt: &Apt, debs: &BTreeMap<String, Stanza>, folder: &Path) {
    fs::create_dir_all(folder).expect("the cache can be written");
    let wanted: BTreeSet<PathBuf> = debs.values().map(|stanza| path(folder, stanza)).collect();
    for entry in fs::read_dir(folder).expect("the cache can be read").flatten() {
        if !wanted.contains(&entry.path()) {
            fs::remove_file(entry.path()).expect("the cache can be written");
        }
    }
    let missing: Vec<&Stanza> = debs.values().filter(|stanza| !path(folder, stanza).exists()).collect();
    if missing.is_empty() {
        return;
    }
    let arriving = workshop.path("arriving");
    fs::create_dir(&arriving).expect("the workshop can be written");
    let names = missing.iter().map(|stanza| format!("{}={}", stanza.package, stanza.version));
    // apt's own user could not write below a folder that only root can enter.
    let options = ["-qq", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download"];
    run(apt.command("apt-get").args(options).args(names).current_dir(&arriving));
    for stanza in missing {
        let (from, to) = (path(&arriving, stanza), path(folder, stanza));
        fs::rename(&from, &to).unwrap_or_else(|error| panic!("apt-get did not download {}: {error}", from.display()));
    }
}
