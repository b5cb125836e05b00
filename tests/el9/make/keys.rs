//! Throw-away OpenPGP keys, and signing with them.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::tool::{Workshop, all, run};

/// The medium's own key.
pub(super) const FIXTURE: &str = "RPM-GPG-KEY-fixture";

/// Packages per call of rpmsign: few calls, and enough of them for two processors.
const CHUNK: usize = 32;

/// gpg with keys in its keyring; its agent ends with it.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    workshop: &'a Workshop,
}

impl<'a> Keys<'a> {
    /// gpg with an empty keyring.
    pub(super) fn make(workshop: &'a Workshop) -> Self {
        let home = workshop.home().join("gnupg");
        fs::DirBuilder::new().mode(0o700).create(home).expect("the home can be written");
        Self { workshop }
    }

    /// Makes a key, which is known by the name of the file that its public part goes to.
    pub(super) fn generate(&self, name: &str) {
        let mut gpg = self.workshop.command("gpg");
        gpg.args(["--batch", "--quiet", "--passphrase", "", "--quick-generate-key"]);
        // RSA is what every rpm can verify; nobody has to trust it for long.
        run(gpg.args([&address(name), "rsa2048", "sign", "never"]));
    }

    /// Writes the public part of a key.
    pub(super) fn export(&self, name: &str, folder: &Path) {
        let mut gpg = self.workshop.command("gpg");
        let text = run(gpg.args(["--batch", "--armor", "--export", &address(name)]));
        fs::write(folder.join(name), text).expect("the key can be written");
    }

    /// Signs packages.
    pub(super) fn sign(&self, name: &str, packages: &[PathBuf]) {
        let chunks: Vec<&[PathBuf]> = packages.chunks(CHUNK).collect();
        all(&chunks, |packages| {
            let mut rpmsign = self.workshop.command("rpmsign");
            // Debian's macros name gpg without its folder, which rpmsign doesn't look for.
            rpmsign.args(["--addsign", "--define", "__gpg /usr/bin/gpg"]);
            rpmsign.args(["--define", &format!("_gpg_name {}", address(name))]).args(*packages);
            run(&mut rpmsign);
        });
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        // The agent also ends by itself, when its home is gone.
        let _ = self.workshop.command("gpgconf").args(["--kill", "all"]).output();
    }
}

fn address(name: &str) -> String {
    format!("{} <{0}@example.org>", name.to_lowercase())
}
