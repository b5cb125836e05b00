//! Small repositories in a temporary directory: what names stand for, what comes with them, and damage.

use std::io::Write;

use model::plan::RepositoryTrust;

use super::*;

mod hostile;

const COMPS: &str = r#"<comps><group><id>core</id><name>Core Things</name><packagelist>
    <packagereq type="mandatory">bash</packagereq><packagereq type="optional">nano</packagereq></packagelist></group>
    <environment><id>minimal</id><name>Minimal Install</name><grouplist><groupid>core</groupid></grouplist>
    </environment><group><id>ruby</id><packagelist><packagereq>nano</packagereq></packagelist></group></comps>"#;
const MODULES: &str = "---\ndocument: modulemd\ndata:\n  name: ruby\n  stream: \"3.1\"\n  profiles:\n    common:\n\
    \x20     rpms: [ruby]\n";

/// A package: name, version, what it provides, what it requires.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);

const ROWS: &[Row<'_>] = &[
    ("bash", "5.1-2.el9.x86_64", &["sh", "/usr/bin/bash"], &["libc.so"]),
    ("glibc", "2.34-1.el9.x86_64", &["libc.so"], &[]),
    ("kernel", "5.14.0-70.el9.x86_64", &[], &["kernel-core"]),
    ("kernel-core", "5.14.0-70.el9.x86_64", &[], &["/usr/bin/bash"]),
    ("nano", "1-1.noarch", &[], &[]),
    ("ruby", "3.1-1.noarch", &[], &["sh"]),
    ("two-a", "1-1.noarch", &["two"], &[]),
    ("two-b", "1-1.noarch", &["two"], &["nano"]),
    ("asks-two", "1-1.noarch", &[], &["two", "nobody-has-this"]),
];

fn primary(rows: &[Row<'_>]) -> String {
    let entries = |names: &[&str]| names.iter().map(|name| format!("<rpm:entry name=\"{name}\"/>")).collect::<String>();
    let package = |(name, version, provides, requires): &Row<'_>| {
        let (version, arch) = version.rsplit_once('.').unwrap();
        let (version, release) = version.split_once('-').unwrap();
        format!(
            "<package type=\"rpm\"><name>{name}</name><arch>{arch}</arch>\
             <version epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/><format>\
             <rpm:provides><rpm:entry name=\"{name}\"/>{}</rpm:provides><rpm:requires>{}</rpm:requires>\
             </format></package>",
            entries(provides),
            entries(requires)
        )
    };
    format!("<metadata xmlns:rpm=\"r\">{}</metadata>", rows.iter().map(package).collect::<String>())
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// An rpm repository; primary is packed, the others are plain.
fn rpm_repository(dir: &Path, primary: &str) -> Repository {
    let files = [
        ("primary", "primary.xml.gz", gzip(primary)),
        ("group", "comps.xml", COMPS.into()),
        ("modules", "modules.yaml", MODULES.into()),
    ];
    rpm_repository_of(dir, files)
}

/// The same with other indexes: the kind of each, its name and its bytes.
fn rpm_repository_of<const N: usize>(dir: &Path, files: [(&str, &str, Vec<u8>); N]) -> Repository {
    let repodata = dir.join("repodata");
    fs::create_dir_all(&repodata).unwrap();
    let mut repomd = "<repomd>".to_owned();
    for (kind, name, bytes) in files {
        let sum = hex::encode(Sha256::digest(&bytes));
        repomd += &format!(
            "<data type=\"{kind}\"><checksum type=\"sha256\">{sum}</checksum><location href=\"repodata/{name}\"/></data>"
        );
        fs::write(repodata.join(name), bytes).unwrap();
    }
    fs::write(repodata.join("repomd.xml"), repomd + "</repomd>").unwrap();
    repository(dir, "", &[])
}

fn repository(dir: &Path, suite: &str, components: &[&str]) -> Repository {
    Repository {
        url: format!("file://{}", dir.display()),
        suite: suite.to_owned(),
        components: components.iter().map(|component| (*component).to_owned()).collect(),
        trust: RepositoryTrust::Unsigned,
        source: dir.display().to_string(),
        subdir: None,
    }
}

fn read(repository: &Repository, system: System) -> Result<Option<Vec<Arc<Stock>>>, Vec<String>> {
    read_with(&Indexes::default(), repository, system)
}

fn read_with(
    indexes: &Indexes,
    repository: &Repository,
    system: System,
) -> Result<Option<Vec<Arc<Stock>>>, Vec<String>> {
    let mut notes = Notes::default();
    let stocks = indexes.read(std::slice::from_ref(repository), system, Arch::X86_64, &mut notes);
    let problems: Vec<String> = notes.problems.into_iter().map(|problem| problem.message).collect();
    assert!(problems.is_empty() || stocks.is_none());
    if problems.is_empty() { Ok(stocks) } else { Err(problems) }
}

/// The meaning of a name in few words.
fn meaning(shelf: &Shelf<'_>, name: &str) -> String {
    match shelf.meaning(name) {
        Meaning::Packages(places) => {
            let names: std::collections::BTreeSet<&str> =
                places.iter().map(|place| shelf.at(*place)).map(|(stock, package)| stock.text(package.name)).collect();
            names.into_iter().collect::<Vec<_>>().join(" ")
        }
        Meaning::Taken => "taken".to_owned(),
        Meaning::OtherVersions { name, there } => format!("{name} in {}", there.join(" ")),
        Meaning::OtherStreams { module, there } => format!("{module} with {}", there.join(" ")),
        Meaning::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn a_name_of_a_list_means_what_dnf_takes_it_for() {
    let dir = tempfile::tempdir().unwrap();
    let stocks = read(&rpm_repository(dir.path(), &primary(ROWS)), System::Dnf).unwrap().unwrap();
    let shelf = Shelf::new(stocks.iter().map(Arc::as_ref), System::Dnf);
    let table = [
        ("bash", "bash"),
        ("sh", "bash"),
        ("bash.x86_64", "bash"),
        ("bash-5.1", "bash"),
        ("bash-5.1-2.el9", "bash"),
        ("bash-5.1-2.el9.x86_64", "bash"),
        ("bash-0:5.1-2.el9", "bash"),
        ("bash-5*", "bash"),
        ("*ash", "bash"),
        ("two", "two-a two-b"),
        ("two-?", "two-a two-b"),
        ("libc*", "taken"),
        ("bash-6", "bash in 5.1-2.el9.x86_64"),
        ("bash-5.1-2.el9.ppc64le", "bash in 5.1-2.el9.x86_64"),
        ("kernel-core-9", "kernel-core in 5.14.0-70.el9.x86_64"),
        ("bash-doc", "nothing"),
        ("bsah", "nothing"),
        ("zsh*", "nothing"),
        ("bash.ppc64le", "nothing"),
        ("bash=5.1", "taken"),
        ("none=1", "nothing"),
        ("@core", "bash"),
        ("@Core things", "bash"),
        ("@^minimal", "bash"),
        ("@minimal", "bash"),
        ("@c*", "bash"),
        ("@kore", "nothing"),
        ("@ruby", "nano ruby"),
        ("@ruby:3.1", "ruby"),
        ("@ruby:3.1/common", "ruby"),
        ("@ruby:9", "ruby with 3.1"),
        ("@perl:5", "nothing"),
    ];
    for (name, expected) in table {
        assert_eq!(meaning(&shelf, name), expected, "{name}");
    }
}

#[test]
fn everything_that_may_come_along_is_reached_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let stocks = read(&rpm_repository(dir.path(), &primary(ROWS)), System::Dnf).unwrap().unwrap();
    let shelf = Shelf::new(stocks.iter().map(Arc::as_ref), System::Dnf);
    let table = [
        ("kernel", "bash glibc kernel kernel-core"),
        ("asks-two", "asks-two nano two-a two-b"),
        ("@ruby:3.1", "bash glibc ruby"),
    ];
    for (name, expected) in table {
        let Meaning::Packages(seeds) = shelf.meaning(name) else { panic!("{name} is there") };
        let closure = Closure::of(&shelf, seeds);
        let mut reached: Vec<&str> =
            ROWS.iter().map(|(name, ..)| *name).filter(|name| closure.has(|own| own == *name)).collect();
        reached.sort_unstable();
        assert_eq!(reached.join(" "), expected, "{name}");
        assert!(!closure.has(|own| own == "nobody-has-this"));
    }
    assert!(Closure::of(&shelf, shelf.called("bash")).has(|own| own == "/usr/bin/bash"));
}

const PACKAGES: &str = "Package: linux-image-6.1.0-9-amd64\nVersion: 6.1-1\nArchitecture: amd64\n\
    Depends: initramfs-tools (>= 0.120) | linux-initramfs-tool\n\n\
    Package: initramfs-tools\nVersion: 0.142\nArchitecture: all\nProvides: linux-initramfs-tool\n\n\
    Package: dracut\nVersion: 059-4\nArchitecture: all\nProvides: linux-initramfs-tool\nRecommends: gcc\n\n\
    Package: libc6\nVersion: 2.36\nArchitecture: amd64\nEssential: yes\nDepends: gcc (>= 99) | base\n\n\
    Package: base\nVersion: 1\nArchitecture: all\n\n\
    Package: other-base\nVersion: 1\nArchitecture: all\nProvides: base, dracut\n\nPackage: gcc\nVersion: 12\nArchitecture: amd64\n\n";

fn apt_repository(dir: &Path) -> Repository {
    let folder = dir.join("dists/bookworm/main/binary-amd64");
    fs::create_dir_all(&folder).unwrap();
    let packed = gzip(PACKAGES);
    let sum = hex::encode(Sha256::digest(&packed));
    let release = format!("Suite: x\nSHA256:\n {sum} {} main/binary-amd64/Packages.gz\n", packed.len());
    fs::write(dir.join("dists/bookworm/InRelease"), release).unwrap();
    fs::write(folder.join("Packages.gz"), packed).unwrap();
    repository(dir, "bookworm", &["main"])
}

#[test]
fn apt_takes_the_first_alternative_that_there_is_and_no_recommendations() {
    let dir = tempfile::tempdir().unwrap();
    let stocks = read(&apt_repository(dir.path()), System::Apt).unwrap().unwrap();
    let shelf = Shelf::new(stocks.iter().map(Arc::as_ref), System::Apt);
    let reached = |name: &str| {
        let Meaning::Packages(seeds) = shelf.meaning(name) else { panic!("{name} is there") };
        let closure = Closure::of(&shelf, seeds);
        let mut all: Vec<&str> = shelf.names().filter(|name| closure.has(|own| own == *name)).collect();
        all.sort_unstable();
        all.join(" ")
    };
    assert_eq!(reached("linux-image-*"), "base initramfs-tools libc6 linux-image-6.1.0-9-amd64");
    assert_eq!(reached("dracut"), "base dracut libc6");
    let table = [
        ("gcc=12", "gcc"),
        ("gcc=13", "gcc in 12"),
        ("gcc:amd64", "gcc"),
        ("linux-initramfs-tool", "dracut initramfs-tools"),
        ("linux-image-*", "linux-image-6.1.0-9-amd64"),
        ("linux.*amd64", "linux-image-6.1.0-9-amd64"),
        ("linuxx*-image", "taken"),
        ("linux-image-6.1.0-9", "linux-image-6.1.0-9-amd64"),
        ("linux-image-6.1.0-8", "nothing"),
        ("zzz*", "nothing"),
        ("gccc", "nothing"),
        ("ssh-server^", "taken"),
    ];
    for (name, expected) in table {
        assert_eq!(meaning(&shelf, name), expected, "{name}");
    }
}

#[test]
fn a_damaged_index_is_one_problem_with_the_repositorys_name() {
    let dir = tempfile::tempdir().unwrap();
    let repository = rpm_repository(dir.path(), &primary(ROWS));
    let path = dir.path().join("repodata/primary.xml.gz");
    let sound = fs::read(&path).unwrap();
    let begin = format!("the repository `{}` is damaged: `", dir.path().display());
    let damaged = |expected: &str| {
        let problems = read(&repository, System::Dnf).unwrap_err();
        assert!(problems.len() == 1 && problems[0].starts_with(&begin), "{problems:?}");
        assert!(problems[0].contains(expected), "`{expected}` is not in {problems:?}");
    };
    fs::write(&path, &sound[..sound.len() - 1]).unwrap();
    damaged("primary.xml.gz` is not what the repository's index says; its checksum differs; copy it again");
    fs::remove_file(&path).unwrap();
    damaged("primary.xml.gz` cannot be read: there is no such file");
    fs::write(&path, &sound).unwrap();
    assert!(read(&repository, System::Dnf).is_ok());
    // A sound checksum over what is no list of packages.
    rpm_repository(dir.path(), "<metadata><package></metadata>");
    damaged("primary.xml.gz` cannot be understood");
    fs::write(dir.path().join("repodata/repomd.xml"), "this is no XML\n").unwrap();
    damaged("repomd.xml` cannot be understood: it is no <repomd> document");
    fs::write(dir.path().join("repodata/repomd.xml"), "<repomd/>").unwrap();
    damaged("it names no primary index");

    let dir = tempfile::tempdir().unwrap();
    let repository = apt_repository(dir.path());
    fs::write(dir.path().join("dists/bookworm/main/binary-amd64/Packages.gz"), gzip("Package: x\n\n")).unwrap();
    assert!(read(&repository, System::Apt).unwrap_err()[0].contains("Packages.gz` is not what"));
}

#[test]
fn what_cannot_be_looked_into_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let url = Repository { url: "http://r/x".into(), ..repository(dir.path(), "", &[]) };
    assert!(read(&url, System::Dnf).unwrap().is_none());
    let rpm = rpm_repository(dir.path(), &primary(ROWS));
    assert!(read(&rpm, System::Zypper).unwrap().is_none());
    let path = dir.path().join("repodata/repomd.xml");
    let repomd = fs::read_to_string(&path).unwrap();
    fs::write(&path, repomd.replace("primary.xml.gz", "primary.xml.bz2")).unwrap();
    assert!(read(&rpm, System::Dnf).unwrap().is_none());
}

#[test]
fn an_index_is_read_again_when_it_changed_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let repository = rpm_repository(dir.path(), &primary(ROWS));
    let indexes = Indexes::default();
    let read = || read_with(&indexes, &repository, System::Dnf).unwrap().unwrap().remove(0);
    let first = read();
    assert!(Arc::ptr_eq(&first, &read()));
    rpm_repository(dir.path(), &primary(&ROWS[..2]));
    assert_eq!(read().packages.len(), 2);
    // What the index says counts, though the files that it names are the same.
    let path = dir.path().join("repodata/repomd.xml");
    let repomd = fs::read_to_string(&path).unwrap();
    fs::write(&path, repomd.replacen("\"sha256\">", "\"sha256\">0", 1)).unwrap();
    assert!(read_with(&indexes, &repository, System::Dnf).is_err());
    // No more are kept than fit.
    for number in 0..2 * cache::MAX_COUNT {
        let dir = dir.path().join(number.to_string());
        read_with(&indexes, &rpm_repository(&dir, &primary(ROWS)), System::Dnf).unwrap();
    }
    assert_eq!(indexes.cache.weights().len(), cache::MAX_COUNT);
}

/// A real medium's size: ten thousand packages with forty names each. Optimised, it takes a tenth of a second.
#[test]
fn a_medium_of_ten_thousand_packages_is_read() {
    let names: Vec<[String; 3]> = (0..10_000)
        .map(|n| [format!("package-{n}"), format!("lib{n}.so()(64bit)"), format!("lib{}.so()(64bit)", n / 2)])
        .collect();
    let common: Vec<String> = (0..18).map(|n| format!("libc.so.6(GLIBC_2.{n})(64bit)")).collect();
    let lists: Vec<[Vec<&str>; 2]> = names
        .iter()
        .map(|[_, own, other]| {
            let common = || common.iter().map(String::as_str);
            [common().chain([own.as_str()]).collect(), common().chain([other.as_str()]).collect()]
        })
        .collect();
    let rows: Vec<Row<'_>> = names
        .iter()
        .zip(&lists)
        .map(|([name, ..], [provides, requires])| {
            (name.as_str(), "1-1.x86_64", provides.as_slice(), requires.as_slice())
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let repository = rpm_repository(dir.path(), &primary(&rows));
    let stocks = read(&repository, System::Dnf).unwrap().unwrap();
    let shelf = Shelf::new(stocks.iter().map(Arc::as_ref), System::Dnf);
    let closure = Closure::of(&shelf, shelf.called("package-9999"));
    assert!(closure.has(|name| name == "package-0"));
    assert_eq!(stocks[0].packages.len(), 10_000);
}
