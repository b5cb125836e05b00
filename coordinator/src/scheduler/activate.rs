//! Another generation live, between what the desk does for builds: nothing is received, packed or pruned there meanwhile.

use std::path::PathBuf;

use super::Refused;
use super::desk::Desk;
use crate::generation::{ActivateError, LayoutError, Number, RootimgDir, Switched, activate};

impl Desk {
    /// Puts generation `number` live. The desk waits for it (a few links), so that no build begins to work there.
    pub(super) async fn activate(&mut self, rootimgdir: PathBuf, number: Number) -> Result<Switched, Refused> {
        let works = |build: &&super::desk::Active| build.work.is_some() && build.build.rootimgdir == rootimgdir;
        if let Some(active) = self.active.values().find(works) {
            return Err(Refused::Working(active.build.id, rootimgdir));
        }
        let record =
            number.ours().map(|number| self.parts.store.generation(&rootimgdir, number)).transpose()?.flatten();
        if number.ours().is_some() && record.is_none() {
            // What a restart left without a record can't be checked.
            return Err(ActivateError::from(LayoutError::NoGeneration { number, rootimgdir }).into());
        }
        let recorded = record.map(|record| record.artefacts).unwrap_or_default();
        let (install_dir, folder) = (self.parts.config.install_dir.clone(), rootimgdir.clone());
        let switched = tokio::task::spawn_blocking(move || match RootimgDir::find(&folder, &install_dir)? {
            Some(dir) => activate(&dir, number, &recorded),
            None => Err(LayoutError::NoGeneration { number, rootimgdir: folder }.into()),
        });
        let failed = |error| {
            ActivateError::Link(
                crate::generation::atomic::failed("switch links of", &rootimgdir)(std::io::Error::other(error)).into(),
            )
        };
        let switched = switched.await.map_err(failed)??;
        let from = switched.from.map(|number| number.to_string()).unwrap_or_default();
        tracing::info!(rootimgdir = %rootimgdir.display(), from, to = %switched.to, "put live by hand");
        Ok(switched)
    }
}
