//! The catalogue of osimage definitions: what the verbs of `imgctl osimage` do.
//!
//! Whatever finds problems has written nothing. Every write is made on the revision that was read; a writer
//! that comes second is told.

use model::name::ImageName;
use model::nearest::nearest;
use model::osimage::{AttributeChange, Osimage, trust_as_xcat, update_as_xcat};
use model::problem::Problem;
use model::stanza;

use crate::clock::now_ms;
use crate::osimage::{Profile, Site, fill};
use crate::store::osimages::OsimageWrite;
use crate::store::{Store, StoreError};

/// Why a definition can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// There is none of this name.
    #[error("there is no osimage `{name}`{}", nearest.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    NotFound {
        /// The name asked for.
        name: ImageName,
        /// One that is nearly the same.
        nearest: Option<ImageName>,
    },
    /// There is one already.
    #[error("there is already an osimage `{0}`; change it with `imgctl osimage set`, or remove it first")]
    Exists(ImageName),
    /// Somebody changed it in between.
    #[error("osimage `{name}` is at revision {now} by now, not at {expected}; look at it again and repeat")]
    Stale {
        /// Which.
        name: ImageName,
        /// The revision that the caller saw.
        expected: u64,
        /// The revision that it has.
        now: u64,
    },
    /// The definition itself is wrong.
    #[error("the definition has problems")]
    Problems(Vec<Problem>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How stanzas are taken over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Import {
    /// Definitions that exist are replaced; without it they are problems.
    pub replace: bool,
    /// Repositories that say nothing of their signatures are taken unsigned; a warning names each.
    pub unsigned_as_xcat: bool,
}

/// What a write answers with.
#[derive(Debug, Clone)]
pub struct Written {
    /// What was written.
    pub osimages: Vec<Osimage>,
    /// What the administrator should know.
    pub warnings: Vec<String>,
}

/// The definitions of the site.
#[derive(Debug, Clone)]
pub struct Catalogue {
    store: Store,
    site: Site,
}

impl Catalogue {
    /// Over the store, for the site's install root.
    pub fn new(store: Store, site: Site) -> Self {
        Self { store, site }
    }

    /// The site that definitions are resolved for.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// All definitions, by name.
    pub fn list(&self) -> Result<Vec<Osimage>, CatalogueError> {
        Ok(self.store.osimages()?)
    }

    /// The definition of this name.
    pub fn get(&self, name: &ImageName) -> Result<Osimage, CatalogueError> {
        match self.store.osimage(name)? {
            Some(osimage) => Ok(osimage),
            None => {
                let names: Vec<ImageName> = self.store.osimages()?.into_iter().map(|osimage| osimage.name).collect();
                let near = nearest(name.as_str(), names.iter().map(ImageName::as_str));
                let nearest = near.and_then(|near| near.parse().ok());
                Err(CatalogueError::NotFound { name: name.clone(), nearest })
            }
        }
    }

    /// Makes a definition; with `from_profile` what the changes leave out is filled in (XCAT.md 1.6, `mkdef -u`).
    pub async fn create(
        &self,
        name: ImageName,
        changes: &[String],
        from_profile: bool,
    ) -> Result<Written, CatalogueError> {
        if self.store.osimage(&name)?.is_some() {
            return Err(CatalogueError::Exists(name));
        }
        let mut changes = parse(changes)?;
        if from_profile {
            changes = self.filled(changes)?;
        }
        let osimage = Osimage::create(name, &changes, now_ms()).map_err(CatalogueError::Problems)?;
        self.write(vec![OsimageWrite { before: None, after: Some(osimage) }], Vec::new()).await
    }

    /// The changes, with what a profile supplies in front of them where they say nothing themselves.
    fn filled(&self, changes: Vec<AttributeChange>) -> Result<Vec<AttributeChange>, CatalogueError> {
        let value = |wanted: &str| {
            let found = changes.iter().find_map(|change| match change {
                AttributeChange::Set { name, value } if name == wanted => Some(value.as_str()),
                _ => None,
            });
            found.unwrap_or_default()
        };
        let profile = Profile {
            profile: value("profile"),
            provmethod: value("provmethod"),
            osvers: value("osvers"),
            osarch: value("osarch"),
        };
        let supplied = fill(profile, &self.site.install_dir).map_err(CatalogueError::Problems)?;
        let said = |change: &AttributeChange| changes.iter().any(|said| said.name() == change.name());
        let mut all: Vec<AttributeChange> = supplied.into_iter().filter(|change| !said(change)).collect();
        all.extend(changes);
        Ok(all)
    }

    /// Changes attributes; `expected` 0 means the revision that it has.
    pub async fn set(&self, name: &ImageName, changes: &[String], expected: u64) -> Result<Written, CatalogueError> {
        let before = self.get(name)?;
        if expected != 0 && expected != before.revision {
            return Err(CatalogueError::Stale { name: name.clone(), expected, now: before.revision });
        }
        let mut after = before.clone();
        after.apply(&parse(changes)?).map_err(CatalogueError::Problems)?;
        after.revision += 1;
        after.modified_ms = now_ms();
        self.write(vec![OsimageWrite { before: Some(before), after: Some(after) }], Vec::new()).await
    }

    /// Removes definitions, all or none. Never touches files.
    pub async fn remove(&self, names: &[ImageName]) -> Result<(), CatalogueError> {
        let write = |name| Ok(OsimageWrite { before: Some(self.get(name)?), after: None });
        let writes: Result<Vec<_>, CatalogueError> = names.iter().map(write).collect();
        self.write(writes?, Vec::new()).await.map(|_| ())
    }

    /// Gives a definition another name. Its rootimgdir stays where it is.
    pub async fn rename(&self, from: &ImageName, to: ImageName) -> Result<Written, CatalogueError> {
        let before = self.get(from)?;
        self.must_be_free(&to)?;
        let after = Osimage { name: to, revision: before.revision + 1, modified_ms: now_ms(), ..before.clone() };
        let removed = OsimageWrite { before: Some(before), after: None };
        self.write(vec![OsimageWrite { before: None, after: Some(after) }, removed], Vec::new()).await
    }

    /// Copies a definition. The copy gets a rootimgdir of its own name, so that the two don't share one.
    pub async fn copy(&self, from: &ImageName, to: ImageName) -> Result<Written, CatalogueError> {
        let original = self.get(from)?;
        self.must_be_free(&to)?;
        let now = now_ms();
        let mut copy = Osimage { name: to, revision: 1, created_ms: now, modified_ms: now, ..original };
        if let Some(dir) = copy.rootimgdir(&self.site.install_dir) {
            let own = dir.with_file_name(copy.name.as_str());
            copy.attributes.insert("rootimgdir".to_owned(), own.display().to_string());
        }
        self.write(vec![OsimageWrite { before: None, after: Some(copy) }], Vec::new()).await
    }

    /// Takes definitions from stanza text, all or none.
    pub async fn import(&self, source: &str, bytes: &[u8], how: Import) -> Result<Written, CatalogueError> {
        let source = if source == "-" { "(standard input)" } else { source };
        let read = stanza::read_definitions(source, bytes, now_ms()).map_err(CatalogueError::Problems)?;
        let (mut writes, mut problems, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for (stanza, mut osimage) in read {
            if how.unsigned_as_xcat {
                warnings.extend(trust_as_xcat(&mut osimage).iter().map(ToString::to_string));
            }
            warnings.extend(update_as_xcat(&mut osimage).iter().map(ToString::to_string));
            let before = self.store.osimage(&osimage.name)?;
            match &before {
                Some(_) if !how.replace => {
                    let text = format!("there is already an osimage `{}`; give --replace to replace it", osimage.name);
                    problems.push(Problem::at(&stanza.at, text));
                }
                Some(before) => {
                    osimage.revision = before.revision + 1;
                    osimage.created_ms = before.created_ms;
                }
                None => {}
            }
            writes.push(OsimageWrite { before, after: Some(osimage) });
        }
        if problems.is_empty() { self.write(writes, warnings).await } else { Err(CatalogueError::Problems(problems)) }
    }

    /// The stanza text of the named definitions, or of all.
    pub fn export(&self, names: &[ImageName]) -> Result<String, CatalogueError> {
        let osimages = if names.is_empty() {
            self.list()?
        } else {
            names.iter().map(|name| self.get(name)).collect::<Result<_, _>>()?
        };
        Ok(stanza::write(&osimages))
    }

    fn must_be_free(&self, name: &ImageName) -> Result<(), CatalogueError> {
        match self.store.osimage(name)? {
            Some(_) => Err(CatalogueError::Exists(name.clone())),
            None => Ok(()),
        }
    }

    async fn write(&self, writes: Vec<OsimageWrite>, mut warnings: Vec<String>) -> Result<Written, CatalogueError> {
        self.store.write_osimages(&writes).await?;
        let osimages: Vec<Osimage> = writes.into_iter().filter_map(|write| write.after).collect();
        let all = self.store.osimages()?;
        for osimage in &osimages {
            let found = osimage.warnings(&all, &self.site.install_dir);
            warnings.extend(found.into_iter().map(|warning| format!("{}: {warning}", osimage.name)));
        }
        Ok(Written { osimages, warnings })
    }
}

fn parse(changes: &[String]) -> Result<Vec<AttributeChange>, CatalogueError> {
    let (mut parsed, mut problems) = (Vec::new(), Vec::new());
    for text in changes {
        match text.parse() {
            Ok(change) => parsed.push(change),
            Err(error) => problems.push(Problem::new(format!("{error}"))),
        }
    }
    if problems.is_empty() { Ok(parsed) } else { Err(CatalogueError::Problems(problems)) }
}
