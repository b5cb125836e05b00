//! The packages that the run builds from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Kept between runs; each is named by what went into it.
const KEPT: &str = "/var/tmp/imgctl-fixtures";

/// What an osimage of the run lists.
pub(crate) const PKGLIST: &str = "linux-image-cloud-amd64\ndracut\ndracut-network\nisc-dhcp-client\niproute2\nprocps\n\
    nfs-common\nwget\nkmod\nudev\nmount\n";

/// Makes the repository, unless an earlier run has.
pub(crate) fn repository(codename: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("chaos/repository.sh");
    let made = Command::new(&script).args([KEPT, codename]).stderr(Stdio::inherit()).output().expect("bash is there");
    assert!(made.status.success(), "{} ended with {}", script.display(), made.status);
    PathBuf::from(String::from_utf8(made.stdout).expect("a path is text").trim())
}
