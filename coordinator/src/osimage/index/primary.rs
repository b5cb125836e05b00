//! `primary.xml`: an rpm repository's packages with what they provide and require.

use std::io::BufRead;

use model::arch::Arch;

use super::file::Damage;
use super::stock::{Id, Needs, Package, Stock, Version};
use super::xml::{Tag, Token, Xml, gather};

/// Which list of a package is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Other,
    Provides,
    /// `requires`, and `recommends`: dnf takes those too.
    Needs,
}

/// Which element's text is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Other,
    Name,
    Arch,
    File,
}

/// A package as far as it is read.
#[derive(Debug, Default)]
struct Draft {
    name: String,
    arch: String,
    version: [String; 3],
    provides: Vec<Id>,
    needs: Vec<Id>,
}

/// Adds the packages that fit the architecture.
pub(super) fn read(document: impl BufRead, arch: Arch, stock: &mut Stock) -> Result<(), Damage> {
    let mut xml = Xml::new(document, "metadata");
    let (mut draft, mut section, mut text, mut file) = (Draft::default(), Section::Other, Text::Other, String::new());
    loop {
        // metadata, package, format, requires, entry: so deep.
        let depth = xml.depth();
        match xml.next()? {
            Token::Open(tag) => match (depth, tag.name()) {
                (1, "package") => draft = Draft::default(),
                (2, "name") => text = Text::Name,
                (2, "arch") => text = Text::Arch,
                (2, "version") => {
                    draft.version = ["epoch", "ver", "rel"].map(|name| tag.attribute(name).unwrap_or_default());
                }
                (3, "provides") => section = Section::Provides,
                (3, "requires" | "recommends") => section = Section::Needs,
                (3, "file") => text = Text::File,
                (4, "entry") => entry(&tag, section, &mut draft, stock)?,
                _ => {}
            },
            Token::Text(piece) => match text {
                Text::Name => gather(&mut draft.name, &piece)?,
                Text::Arch => gather(&mut draft.arch, &piece)?,
                Text::File => gather(&mut file, &piece)?,
                Text::Other => {}
            },
            Token::Close => {
                if text == Text::File {
                    draft.provides.push(stock.name(&file)?);
                    file.clear();
                }
                text = Text::Other;
                match depth {
                    4 => section = Section::Other,
                    2 => finish(std::mem::take(&mut draft), arch, stock)?,
                    _ => {}
                }
            }
            Token::Other => {}
            Token::End => return Ok(()),
        }
    }
}

fn entry(tag: &Tag<'_>, section: Section, draft: &mut Draft, stock: &mut Stock) -> Result<(), Damage> {
    let Some(name) = tag.attribute("name").filter(|_| section != Section::Other) else { return Ok(()) };
    match section {
        Section::Provides => draft.provides.push(stock.name(&name)?),
        // What rpm itself can do is no package's business.
        Section::Needs if name.starts_with("rpmlib(") => {}
        Section::Needs if name.starts_with('(') => {
            for name in names_of_rich(&name) {
                draft.needs.push(stock.name(name)?);
            }
        }
        Section::Needs => draft.needs.push(stock.name(&name)?),
        Section::Other => {}
    }
    Ok(())
}

fn finish(draft: Draft, arch: Arch, stock: &mut Stock) -> Result<(), Damage> {
    let Draft { name, arch: own, version, provides, needs } = draft;
    if name.is_empty() {
        return Err(Damage::Content("it holds a package without a name".to_owned()));
    }
    if !fits(&own, arch) {
        return Ok(());
    }
    let [epoch, version, release] = version;
    let version =
        Version { epoch: stock.name(&epoch)?, version: stock.name(&version)?, release: stock.name(&release)? };
    let package = Package {
        name: stock.name(&name)?,
        version,
        arch: stock.name(&own)?,
        provides: provides.into(),
        needs: Needs::Names(needs.into()),
    };
    stock.add(package)?;
    Ok(())
}

/// Whether packages of an architecture can go into an image of another, as rpm's own table has it.
fn fits(own: &str, arch: Arch) -> bool {
    let small = |own: &str| own.len() == 4 && own.starts_with('i') && own.ends_with("86") || own == "athlon";
    match arch {
        _ if own == "noarch" => true,
        // Levels (x86_64_v2) are of it too.
        Arch::X86_64 => own.starts_with("x86_64") || ["amd64", "ia32e"].contains(&own) || small(own),
        Arch::X86 => small(own),
        _ => own.starts_with(arch.as_str()),
    }
}

/// The names in a rich dependency, `(a >= 1 if (b or c(x)))`: every one, whatever joins them.
fn names_of_rich(text: &str) -> impl Iterator<Item = &str> {
    let mut version_next = false;
    text.split_whitespace().filter_map(move |word| {
        let word = word.trim_start_matches('(');
        if ["<", "<=", "=", ">=", ">"].contains(&word) {
            version_next = true;
            return None;
        }
        if std::mem::take(&mut version_next) {
            return None;
        }
        // `c(x)))` keeps the bracket of its own.
        let surplus = word.matches(')').count().saturating_sub(word.matches('(').count());
        let closing = word.len() - word.trim_end_matches(')').len();
        let word = &word[..word.len() - surplus.min(closing)];
        let joins = ["if", "else", "and", "or", "with", "without", "unless"].contains(&word);
        (!joins && !word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"<package type="rpm"><name>bash</name><arch>ARCH</arch>
        <version epoch="0" ver="5.1.8" rel="9.el9"/><summary>A &lt;shell&gt;</summary>
        <format><rpm:license>x</rpm:license>
          <rpm:provides><rpm:entry name="bash" flags="EQ" ver="5.1.8"/><rpm:entry name="sh"/></rpm:provides>
          <rpm:requires><rpm:entry name="rpmlib(X)"/><rpm:entry name="libc.so.6()(64bit)"/>
            <rpm:entry name="(a &gt;= 1 if (b or c(x)))"/></rpm:requires>
          <rpm:conflicts><rpm:entry name="csh"/></rpm:conflicts>
          <rpm:recommends><rpm:entry name="nice"/></rpm:recommends>
          <rpm:suggests><rpm:entry name="idle"/></rpm:suggests>
          <file>/usr/bin/bash</file><file type="dir">/etc/x</file></format></package>"#;

    fn stock(packages: &str) -> Result<Stock, Damage> {
        let mut stock = Stock::default();
        let text = format!("<metadata xmlns:rpm=\"x\" packages=\"1\">{packages}</metadata>");
        read(text.as_bytes(), Arch::X86_64, &mut stock).map(|()| stock)
    }

    #[test]
    fn a_package_has_a_version_provides_files_and_needs() {
        let stock = stock(&ONE.replace("ARCH", "x86_64")).unwrap();
        let package = stock.package(0);
        let Needs::Names(needs) = &package.needs else { panic!("rpm's are names") };
        let texts = |ids: &[Id]| ids.iter().map(|id| stock.text(*id)).collect::<Vec<_>>().join(" ");
        assert_eq!(texts(needs), "libc.so.6()(64bit) a b c(x) nice");
        assert_eq!(texts(&package.provides), "sh /usr/bin/bash /etc/x");
        let Version { epoch, version, release } = package.version;
        assert_eq!(texts(&[epoch, version, release, package.arch]), "0 5.1.8 9.el9 x86_64");
        assert_eq!((stock.named("bash"), stock.providing("sh"), stock.named("sh")), (&[0][..], &[0][..], &[][..]));
    }

    #[test]
    fn packages_of_other_architectures_do_not_count() {
        for (arch, expected) in [("noarch", 1), ("i686", 1), ("x86_64_v2", 1), ("src", 0), ("ppc64le", 0)] {
            assert_eq!(stock(&ONE.replace("ARCH", arch)).unwrap().packages.len(), expected, "{arch}");
        }
        assert!(fits("ppc64le", Arch::Ppc64le) && fits("i586", Arch::X86) && !fits("x86_64", Arch::Aarch64));
    }

    #[test]
    fn every_name_of_a_rich_dependency_counts() {
        let table = [
            ("(a >= 1 if (b or c(x)))", "a b c(x)"),
            ("((a with b < 2) unless d else e)", "a b d e"),
            ("(a)\u{e9})", "a)\u{e9}"),
            ("()", ""),
        ];
        for (text, expected) in table {
            assert_eq!(names_of_rich(text).collect::<Vec<_>>().join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_package_without_a_name_and_a_document_that_ends_early_are_damage() {
        assert!(stock("<package><arch>noarch</arch></package>").is_err());
        assert!(read("<metadata><package>".as_bytes(), Arch::X86_64, &mut Stock::default()).is_err());
    }
}
