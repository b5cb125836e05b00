//! An apt repository on disk: `Release` with its checksums, and the `Packages` of every component.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use model::arch::Arch;

use super::file::{Checksum, Damage, Packing};
use super::stock::{Alternative, Id, Needs, Package, Relation, Stock, Version};
use super::weight::PIECE;

/// A stanza's field with its continuation lines; some kernels' dependencies have 60 KB.
const MAX_LINE: u64 = 4 << 20;
/// Dependencies of one package, however many fields they stand in.
const MAX_DEPENDS: usize = 16 << 20;
/// The names of an index, those read first that take least to unpack.
const INDEXES: [&str; 4] = ["Packages", "Packages.gz", "Packages.zst", "Packages.xz"];

/// What a `Release` says of the package lists beside it: each with its checksum.
#[derive(Debug, Default)]
pub(super) struct Release<'a> {
    files: Vec<(&'a str, &'a str)>,
}

impl<'a> Release<'a> {
    /// Of `Release` or `InRelease`, whose signature is apt's affair.
    pub(super) fn read(text: &'a str) -> Self {
        let (mut files, mut sha256) = (Vec::new(), false);
        for line in text.lines() {
            if !line.starts_with(' ') {
                sha256 = line.trim_end() == "SHA256:";
                continue;
            }
            let mut words = line.split_whitespace();
            if sha256
                && let (Some(sum), Some(_), Some(place), None) =
                    (words.next(), words.next(), words.next(), words.next())
                && INDEXES.contains(&place.rsplit('/').next().unwrap_or(place))
            {
                files.push((place.trim_start_matches("./"), sum));
            }
        }
        Self { files }
    }

    fn checksum(&self, place: &str) -> Option<Checksum> {
        self.files.iter().find(|(name, _)| *name == place).map(|(_, sum)| Checksum::named("sha256", sum))
    }
}

/// The indexes of a suite, with their checksums; `None` if one is packed in a way that isn't read here.
pub(super) fn indexes(
    directory: &Path,
    components: &[String],
    arch: Arch,
    release: &Release<'_>,
) -> Option<Vec<(PathBuf, Checksum)>> {
    let mut folders: Vec<String> = Vec::new();
    for component in components {
        folders.extend([arch.debian(), "all"].map(|arch| format!("{component}/binary-{arch}/")));
    }
    if components.is_empty() {
        folders.push(String::new());
    }
    let mut found = Vec::new();
    for folder in folders {
        let there = |name: &&str| directory.join(&folder).join(name).is_file();
        let listed = |name: &&&str| release.checksum(&format!("{folder}{name}")).is_some();
        let names: Vec<&str> = INDEXES.into_iter().filter(there).collect();
        // apt goes by what is listed; a copy beside it may be of another day.
        match names.iter().find(listed).or(names.first()) {
            Some(name) => {
                let place = format!("{folder}{name}");
                let checksum = release.checksum(&place).unwrap_or_default();
                found.push((directory.join(place), checksum));
            }
            None if ["Packages.bz2", "Packages.lz4"].iter().any(there) => return None,
            None => {}
        }
    }
    found.iter().all(|(path, _)| Packing::of(&path.to_string_lossy()).is_some()).then_some(found)
}

/// A stanza as far as it is read.
#[derive(Debug, Default)]
struct Stanza {
    name: String,
    version: String,
    arch: String,
    depends: Vec<String>,
    /// Of these, in memory.
    length: usize,
    provides: String,
    base: bool,
}

/// Adds the packages that fit the architecture.
pub(super) fn read(mut document: impl BufRead, arch: Arch, stock: &mut Stock) -> Result<(), Damage> {
    let (mut stanza, mut line) = (Stanza::default(), Vec::new());
    loop {
        line.clear();
        let read = document.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(Damage::Read)?;
        if read as u64 == MAX_LINE {
            return Err(Damage::Content("a line of it is too long".to_owned()));
        }
        // Descriptions may hold anything; the fields that count are ASCII.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            finish(std::mem::take(&mut stanza), arch, stock)?;
        } else if let Some((field, value)) = text.split_once(':') {
            take(&mut stanza, field, value.trim())?;
        } else if !text.starts_with([' ', '\t', '#']) {
            return Err(Damage::Content(format!("`{text:.40}` is no line of a package list")));
        }
        if read == 0 {
            return Ok(());
        }
    }
}

fn take(stanza: &mut Stanza, field: &str, value: &str) -> Result<(), Damage> {
    match field {
        "Package" => value.clone_into(&mut stanza.name),
        "Version" => value.clone_into(&mut stanza.version),
        "Architecture" => value.clone_into(&mut stanza.arch),
        // Recommends are left out, for agents install without them.
        "Depends" | "Pre-Depends" => {
            // A field costs something though it be empty.
            stanza.length += value.len() + size_of::<String>() + PIECE;
            if stanza.length > MAX_DEPENDS {
                return Err(Damage::Content("the dependencies of a package in it are too long".to_owned()));
            }
            stanza.depends.push(value.to_owned());
        }
        "Provides" => value.clone_into(&mut stanza.provides),
        "Essential" => stanza.base |= value == "yes",
        "Priority" => stanza.base |= value == "required",
        _ => {}
    }
    Ok(())
}

fn finish(stanza: Stanza, arch: Arch, stock: &mut Stock) -> Result<(), Damage> {
    let Stanza { name, version, arch: own, depends, provides, base, .. } = stanza;
    if name.is_empty() && version.is_empty() {
        return Ok(());
    }
    if name.is_empty() {
        return Err(Damage::Content("it holds a package without a name".to_owned()));
    }
    if own != "all" && own != arch.debian() {
        return Ok(());
    }
    let mut choices = Vec::new();
    for dependency in depends.iter().flat_map(|field| field.split(',')) {
        let mut alternatives = Vec::new();
        for alternative in dependency.split('|').filter(|text| !text.trim().is_empty()) {
            alternatives.push(self::alternative(alternative, stock)?);
        }
        if !alternatives.is_empty() {
            choices.push(stock.choice(alternatives)?);
        }
    }
    let mut provided: Vec<Id> = Vec::new();
    for text in provides.split(',').filter(|text| !text.trim().is_empty()) {
        provided.push(alternative(text, stock)?.name);
    }
    let empty = stock.name("")?;
    let version = Version { epoch: empty, version: stock.name(&version)?, release: empty };
    let (name, arch) = (stock.name(&name)?, stock.name(&own)?);
    let needs = Needs::Choices(choices.into());
    let number = stock.add(Package { name, version, arch, provides: provided.into(), needs })?;
    if base {
        stock.base.push(number);
    }
    Ok(())
}

/// `name:any (>= 1.2) [amd64]`.
fn alternative(text: &str, stock: &mut Stock) -> Result<Alternative, Damage> {
    let text = text.trim();
    let name = text.split([' ', '(', '[', '<', ':']).next().unwrap_or(text);
    let bracket = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| inside.trim());
    let relation = match bracket {
        Some(inside) => {
            let (word, version) = inside.split_at(inside.find(|c| !"<>=".contains(c)).unwrap_or(inside.len()));
            let relation = match word {
                "<<" => Relation::Earlier,
                "<=" | "<" => Relation::AtMost,
                "=" => Relation::Exactly,
                ">>" => Relation::Later,
                _ => Relation::AtLeast,
            };
            Some((relation, version.trim()))
        }
        None => None,
    };
    Ok(stock.alternative(name, relation)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGES: &str = "Package: a\nVersion: 1:2-3\nArchitecture: amd64\nEssential: yes\n\
        Pre-Depends: libc6 (>= 2.36)\nDepends: b:any (<< 2) | c, d [amd64]\nRecommends: never\n\
        Provides: v (= 1), w\nDescription: text\n with: a colon\n .\n\nPackage: other\nVersion: 1\nArchitecture: arm64\n\n\n\
        Package: b\nVersion: 1\nArchitecture: all\nDepends:\n";

    #[test]
    fn a_package_has_a_version_provides_and_choices() {
        let mut stock = Stock::default();
        read(PACKAGES.as_bytes(), Arch::X86_64, &mut stock).unwrap();
        assert_eq!(stock.packages.len(), 2);
        let package = stock.package(0);
        let Needs::Choices(choices) = &package.needs else { panic!("apt's are choices") };
        let said = |one: &Alternative| {
            let relation = one.relation.map(|(relation, version)| format!(" {relation:?} {}", stock.text(version)));
            format!("{}{}", stock.text(one.name), relation.unwrap_or_default())
        };
        let said: Vec<_> = choices.iter().map(|all| all.iter().map(said).collect::<Vec<_>>().join(" | ")).collect();
        assert_eq!(said, ["libc6 AtLeast 2.36", "b Earlier 2 | c", "d"]);
        assert_eq!((stock.text(package.version.version), stock.base.as_slice()), ("1:2-3", &[0][..]));
        assert_eq!((stock.providing("v"), stock.providing("w"), stock.named("b")), (&[0][..], &[0][..], &[1][..]));
    }

    #[test]
    fn what_is_no_package_list_is_damage() {
        for text in ["hello\n", "Version: 1\n\n", "\u{1f}\u{8b}\n"] {
            assert!(read(text.as_bytes(), Arch::X86_64, &mut Stock::default()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_index_that_release_lists_is_the_one_that_counts() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("main/binary-amd64");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["Packages", "Packages.xz"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let text =
            "Suite: x\nMD5Sum:\n 11 2 main/binary-amd64/Packages\nSHA256:\n ab 2 main/binary-amd64/Packages.xz\n";
        let found = |text: &str| indexes(dir.path(), &["main".to_owned()], Arch::X86_64, &Release::read(text));
        assert_eq!(found(text).unwrap(), [(folder.join("Packages.xz"), Checksum::Sha256("ab".into()))]);
        assert_eq!(found("Suite: x\n").unwrap(), [(folder.join("Packages"), Checksum::None)]);
        for name in ["Packages", "Packages.xz"] {
            std::fs::rename(folder.join(name), folder.join("Packages.bz2")).unwrap();
        }
        assert_eq!(found(text), None);
    }
}
