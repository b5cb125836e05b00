//! A site in a temporary directory, resolved: a sound Debian definition, and one with everything wrong.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use model::osimage::AttributeChange;
use model::plan::{Content, KernelChoice, Origin, RepositoryTrust, RpmDatabase};

use super::*;

mod options;

/// A throwaway management node.
struct Mn {
    dir: tempfile::TempDir,
    site: Site,
}

impl Mn {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let install_dir = dir.path().join("install");
        fs::create_dir(&install_dir).unwrap();
        Self { dir, site: Site { install_dir, indexes: None } }
    }

    /// Writes a file below the MN's root, making its folders.
    fn write(&self, path: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn script(&self, path: &str, content: &str) {
        let path = self.write(path, content);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn apt_suite(&self, tree: &str, suite: &str, components: &[&str]) {
        self.write(&format!("{tree}/dists/{suite}/InRelease"), "");
        for component in components {
            self.write(&format!("{tree}/dists/{suite}/{component}/binary-amd64/Packages.gz"), "");
        }
    }

    /// A definition; `@` stands for the MN's root.
    fn osimage(&self, words: &[&str]) -> Osimage {
        let root = self.dir.path().display().to_string();
        let changes: Vec<AttributeChange> =
            words.iter().map(|word| word.replace('@', &root).parse().unwrap()).collect();
        Osimage::create("lab".parse().unwrap(), &changes, 0).unwrap()
    }

    fn resolve(&self, words: &[&str]) -> Result<Resolved, Vec<String>> {
        let short = |problem: &Problem| self.short(&problem.to_string());
        resolve(&self.osimage(words), &self.site).map_err(|problems| problems.iter().map(short).collect())
    }

    /// A text with the MN's root as `@`.
    fn short(&self, text: &str) -> String {
        text.replace(&self.dir.path().display().to_string(), "@")
    }
}

const DEBIAN: [&str; 4] = ["osvers=debian12", "osarch=amd64", "profile=compute", "provmethod=netboot"];
const ROCKY: [&str; 4] = ["osvers=rocky9.3", "osarch=x86_64", "profile=compute", "provmethod=netboot"];
const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n";
const BOOT: &str = "linux-image-amd64\ndracut, dracut-network\ncurl, nfs-common, procps\n";

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [base, more].concat()
}

#[test]
fn a_whole_debian_definition_becomes_a_plan() {
    let mn = Mn::new();
    mn.apt_suite("install/debian12/amd64", "bookworm", &["contrib", "main"]);
    mn.apt_suite("install/debian12/amd64", "bookworm-updates", &["main"]);
    symlink("bookworm", mn.dir.path().join("install/debian12/amd64/dists/stable")).unwrap();
    mn.write("install/post/other/mpi/Packages", "");
    mn.write("lists/base", &format!("#INCLUDE:$SITE/extra#\n{BOOT}"));
    mn.write("lists/hpc/extra", "vim,less\n#NEW_INSTALL_LIST#\nslurmd\n");
    mn.write("lists/other", "#ENV:A=1#\n-nano\nmpi/openmpi\nhtop\n");
    mn.write("lists/ex", "./usr/share/doc/*\n+./usr/share/doc/keep\n");
    mn.write(
        "lists/sync",
        "@/motd -> /etc/motd\nEXECUTE:\n/x.post\n".replace('@', &mn.dir.path().display().to_string()).as_str(),
    );
    mn.write("motd", "hello");
    mn.script("post.sh", "#!/bin/sh\ncp /dev/null $1\n");
    mn.write("key.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n");
    let resolved = mn
        .resolve(&with(
            &DEBIAN,
            &[
                "environvar=SITE=hpc",
                "pkglist=@/lists/base",
                "pkgdir=@/install/debian12/amd64,[signed-by=@/key.asc] http://repo/x noble main",
                "otherpkglist=@/lists/other",
                "otherpkgdir=[trusted=yes] @/install/post/other",
                "exlist=@/lists/ex",
                "synclists=@/lists/sync",
                "postinstall=@/post.sh one two",
                "otherifce=eth1,eth2",
            ],
        ))
        .unwrap();
    let plan = resolved.plan;
    assert_eq!(plan.packages, PackageSystem::Apt { suite: "bookworm".into() });
    let repositories: Vec<_> = plan.repositories.iter().chain(&plan.other_repositories).collect();
    let shown: Vec<_> =
        repositories.iter().map(|r| mn.short(&format!("{} {} {}", r.url, r.suite, r.components.join(" ")))).collect();
    assert_eq!(
        shown,
        [
            "file://@/install/debian12/amd64 bookworm contrib main",
            "file://@/install/debian12/amd64 bookworm-updates main",
            "http://repo/x noble main",
            "file://@/install/post/other/mpi ./ ",
        ]
    );
    assert_eq!(repositories[0].trust, RepositoryTrust::Distribution);
    assert!(matches!(repositories[2].trust, RepositoryTrust::Key { .. }));
    assert_eq!(repositories[3].trust, RepositoryTrust::Unsigned);
    let names =
        |pass: &model::plan::Pass| pass.install.iter().map(|item| item.name.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(
        plan.passes.iter().map(names).collect::<Vec<_>>(),
        ["vim less", "slurmd linux-image-amd64 dracut dracut-network curl nfs-common procps"]
    );
    assert_eq!(plan.other_passes[0].remove_before[0].name, "nano");
    assert_eq!(plan.kernel, KernelChoice::Only);
    assert_eq!(mn.short(&plan.rootimgdir.display().to_string()), "@/install/netboot/debian12/amd64/compute");
    assert_eq!(plan.postinstall[0].args, ["one", "two"]);
    assert_eq!(plan.postinstall[0].content, Content::Text("#!/bin/sh\ncp /dev/null $1\n".into()));
    assert_eq!(plan.interfaces.others, ["eth1", "eth2"]);
    assert_eq!(
        mn.short(&plan.script_environment["IMG_ROOTIMGDIR"]),
        "@/install/netboot/debian12/amd64/compute/rootimg"
    );
    assert_eq!(plan.needs_install.len(), 2, "{:?}", plan.needs_install);
    assert_eq!(plan.warnings, Vec::<String>::new());
    let origin = |name: &str| plan.attributes.iter().find(|a| a.name == name).map(|a| a.origin.clone());
    assert_eq!(origin("pkglist"), Some(Origin::Given));
    assert!(matches!(origin("rootimgdir"), Some(Origin::Default { .. })));
    assert_eq!(resolved.pack.excludes[0].pattern, "./usr/share/doc/*");
    assert_eq!((resolved.pack.includes.len(), resolved.pack.copies.len(), resolved.pack.on_node.len()), (1, 1, 1));
}

#[test]
fn everything_that_is_wrong_comes_back_at_once() {
    let mn = Mn::new();
    mn.write("lists/base", "vim # editor\n#INCLUDE:gone#\n");
    mn.write("plain.sh", "#!/bin/sh\n");
    fs::create_dir_all(mn.dir.path().join("install/empty")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, mn.dir.path().join("fifo"), rustix::fs::Mode::RUSR).unwrap();
    let found = mn.resolve(&with(
        &DEBIAN,
        &[
            "provmethod=install",
            "pkglist=@/lists/base,@/lists/none",
            "exlist=@/fifo",
            "synclists=@/nosync",
            "postinstall=@/plain.sh,@/gone.sh",
            "rootimgdir=@/elsewhere",
            "pkgdir=@/install/empty,@/install/gone,http://repo/x,@/outside",
            "netdrivers=a b",
            "disable=yes",
        ],
    ));
    let expected = [
        "'lab' cannot be used to build diskless image. Make sure osimage.provmethod is 'netboot'.",
        "'lab' is disabled",
        "@/lists/base:1: a comment must stand on a line of its own",
        "@/lists/base:2: cannot open @/lists/gone: there is no such file",
        "The pkglist specified '@/lists/none' does not exist!",
        "cannot open the exlist `@/fifo`: it is not a regular file",
        "The synclist specified '@/nosync' does not exist!",
        "rootimgdir `@/elsewhere` lies outside the install root `@/install`",
        "postinstall script @/plain.sh is not executable",
        "The postinstall specified '@/gone.sh' does not exist!",
        "`@/install/empty` is no apt repository",
        "the repository `@/install/gone` does not exist",
        "`http://repo/x` lacks its suite or components",
        "the repository `@/outside` does not exist",
        "netdrivers: `a b` is not the name of a driver",
    ];
    let found = found.unwrap_err();
    for text in expected {
        assert!(found.iter().any(|problem| problem.starts_with(text)), "missing: {text}\nin {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_definition_that_says_nothing_is_told_what_it_lacks() {
    let mn = Mn::new();
    let found = mn.resolve(&[]).unwrap_err();
    assert!(found[0].contains("not set: osvers, osarch, profile, provmethod"), "{found:?}");
    assert!(found[1].starts_with("A .pkglist file must be specified for image 'lab'"), "{found:?}");
    assert_eq!(found.len(), 2, "{found:?}");
    let found = mn.resolve(&["osvers=windows11", "osarch=x86_64", "profile=a", "provmethod=netboot"]).unwrap_err();
    assert!(found[0].contains("names no distribution that can be built"), "{found:?}");
}

#[test]
fn values_that_an_older_version_let_through_are_refused_not_panicked_over() {
    let mn = Mn::new();
    mn.write("lists/base", BOOT);
    let mut osimage = mn.osimage(&with(&DEBIAN, &["pkglist=@/lists/base", "pkgdir=http://r/x bookworm main"]));
    let bad = [
        ("osarch", "vax"),
        ("rootimgdir", "../../etc"),
        ("postinstall", "relative.sh"),
        ("pkgdir", "[trusted=maybe] nowhere"),
        ("environvar", "=x,y"),
        ("nosuch", "x"),
        ("exlist", "relative"),
    ];
    for (name, value) in bad {
        osimage.attributes.insert(name.to_owned(), value.to_owned());
    }
    let problems = resolve(&osimage, &mn.site).unwrap_err();
    for (name, _) in bad {
        assert!(problems.iter().any(|problem| problem.message.contains(name)), "{name}: {problems:#?}");
    }
}

#[test]
fn a_pkglist_that_is_not_given_is_searched_for() {
    let mn = Mn::new();
    mn.write("install/custom/netboot/debian/compute.debian12.pkglist", BOOT);
    let plan = mn.resolve(&with(&DEBIAN, &["pkgdir=http://r/x bookworm main"])).unwrap().plan;
    let pkglist = plan.attributes.iter().find(|attribute| attribute.name == "pkglist").unwrap();
    assert_eq!(pkglist.origin, Origin::Searched { rule: "compute.debian12.pkglist".into() });
    assert!(plan.script_environment["IMG_PKGLIST"].ends_with("/compute.debian12.pkglist"));
    assert!(plan.needs_install.is_empty());
}

#[test]
fn apt_trees_that_apt_would_refuse_are_problems() {
    let mn = Mn::new();
    mn.write("lists/base", BOOT);
    mn.write("install/unsigned/dists/bookworm/Release", "");
    mn.write("install/unsigned/dists/bookworm/main/binary-amd64/Packages.gz", "");
    mn.apt_suite("install/two", "one", &["main"]);
    mn.apt_suite("install/two", "two", &["main"]);
    mn.apt_suite("install/arch", "bookworm", &[]);
    mn.write("install/arch/dists/bookworm/main/binary-ppc64el/Packages.gz", "");
    let table = [
        ("@/install/unsigned", Some("`@/install/unsigned/dists/bookworm` is not signed")),
        ("[trusted=yes] @/install/unsigned", None),
        ("@/install/two", Some("`@/install/two` holds the suites one, two; say which")),
        ("@/install/two one", None),
        (
            "@/install/two three main",
            Some("`@/install/two three main`: there is no `@/install/two/dists/three/Release`"),
        ),
        (
            "@/install/two one main universe",
            Some("`@/install/two/dists/one`: component `universe` has no packages for amd64"),
        ),
        ("@/install/arch", Some("`@/install/arch/dists/bookworm` has no packages for amd64")),
        ("[signed-by=@/lists/base] http://r/x bookworm main", Some("`@/lists/base` is not an OpenPGP public key")),
    ];
    for (pkgdir, expected) in table {
        let pkgdir = format!("pkgdir={pkgdir}");
        match (mn.resolve(&with(&DEBIAN, &["pkglist=@/lists/base", &pkgdir])), expected) {
            (Ok(_), None) => {}
            (Err(found), Some(text)) => assert!(found.len() == 1 && found[0].starts_with(text), "{pkgdir}: {found:?}"),
            (result, _) => panic!("{pkgdir}: {result:?}"),
        }
    }
}

#[test]
fn rpm_trees_give_a_repository_for_every_repodata() {
    let mn = Mn::new();
    mn.write("lists/base", "kernel\ndracut\ndracut-network\ncurl\ndhclient\nnfs-utils\n");
    mn.write("lists/other", "gpfs/gpfs.base\nnone/x\nbare\n");
    for part in ["BaseOS", "AppStream"] {
        mn.write(&format!("install/rocky9.3/x86_64/{part}/repodata/repomd.xml"), "");
    }
    mn.write("install/post/otherpkgs/rocky9.3/x86_64/gpfs/repodata/repomd.xml", "");
    mn.write("install/rocky9.3/x86_64/RPM-GPG-KEY-Rocky-9", KEY);
    let plan = mn.resolve(&with(&ROCKY, &["pkglist=@/lists/base"])).unwrap().plan;
    let packages = PackageSystem::Dnf {
        releasever: "9".into(),
        platform: Some("platform:el9".into()),
        database: RpmDatabase::Sqlite,
        database_dir: "/var/lib/rpm".into(),
    };
    assert_eq!((&plan.packages, plan.packages.name()), (&packages, "dnf"));
    let urls: Vec<_> = plan.repositories.iter().map(|repository| mn.short(&repository.url)).collect();
    assert_eq!(urls, ["file://@/install/rocky9.3/x86_64/AppStream", "file://@/install/rocky9.3/x86_64/BaseOS"]);
    assert_eq!(plan.warnings, Vec::<String>::new());

    let found = mn.resolve(&with(&ROCKY, &["pkglist=@/lists/base", "otherpkglist=@/lists/other"])).unwrap_err();
    let expected = "@/lists/other:2: `none/x`: there is no directory `@/install/post/otherpkgs/rocky9.3/x86_64/none`";
    assert_eq!(found, [expected]);

    fs::create_dir_all(mn.dir.path().join("install/post/otherpkgs/rocky9.3/x86_64/none")).unwrap();
    let found = mn.resolve(&with(&ROCKY, &["pkglist=@/lists/base", "otherpkglist=@/lists/other"])).unwrap_err();
    assert!(found[0].starts_with("@/lists/other:2: The repository for @/install/post"), "{found:?}");

    let words = ["pkglist=@/lists/base", "otherpkglist=@/lists/other", "otherpkgdir=http://mn/o"];
    let plan = mn.resolve(&with(&ROCKY, &words)).unwrap().plan;
    let urls: Vec<_> = plan.other_repositories.iter().map(|repository| repository.url.as_str()).collect();
    assert_eq!(urls, ["http://mn/o/gpfs", "http://mn/o/none", "http://mn/o"]);
}

#[test]
fn an_rpm_repository_is_checked_or_said_to_be_trusted() {
    let mn = Mn::new();
    mn.write("lists/base", "kernel\ndracut\ndracut-network\ncurl\ndhclient\nnfs-utils\n");
    mn.write("lists/other", "gpfs/gpfs.base\n");
    for tree in ["medium/BaseOS", "bare/a", "bare/b", "post/gpfs"] {
        mn.write(&format!("install/{tree}/repodata/repomd.xml"), "");
    }
    mn.write("install/medium/RPM-GPG-KEY-x", KEY);
    mn.write("install/medium/RPM-GPG-KEY-y", KEY);
    mn.write("install/medium/RPM-GPG-KEY-junk", "hello");
    mn.write("own.asc", KEY);
    let trust = |pkgdir: &str, other: &str| {
        let words = [format!("pkgdir={pkgdir}"), format!("otherpkgdir={other}")];
        let words = ["pkglist=@/lists/base", "otherpkglist=@/lists/other", &words[0], &words[1]];
        let plan = mn.resolve(&with(&ROCKY, &words))?.plan;
        let said = |repository: &Repository| match &repository.trust {
            RepositoryTrust::Distribution => "the node's".to_owned(),
            RepositoryTrust::Unsigned => "unchecked".to_owned(),
            RepositoryTrust::Key { path, .. } => mn.short(&path.display().to_string()),
            RepositoryTrust::Medium { keys } => {
                keys.iter().map(|key| mn.short(&key.path.display().to_string())).collect::<Vec<_>>().join(" ")
            }
        };
        Ok::<_, Vec<String>>(plan.repositories.iter().chain(&plan.other_repositories).map(said).collect::<Vec<_>>())
    };
    let medium = "@/install/medium/RPM-GPG-KEY-x @/install/medium/RPM-GPG-KEY-y".to_owned();
    let unchecked = || "unchecked".to_owned();
    let (node, own) = ("the node's".to_owned(), "@/own.asc".to_owned());
    assert_eq!(trust("@/install/medium", "[trusted=yes] @/install/post"), Ok(vec![medium.clone(), unchecked()]));
    assert_eq!(trust("@/install/medium,http://u/r", "http://u"), Ok(vec![medium.clone(); 3]));
    assert_eq!(trust("http://u/r", "[signed-by=@/own.asc] @/install/post"), Ok(vec![node, own]));
    assert_eq!(
        trust("[trusted=yes] @/install/bare", "@/install/medium,[trusted=yes] @/install/post").unwrap().len(),
        3
    );
    // Two repositories without a key, and a third: each entry is told of once.
    let found = trust("@/install/bare", "@/install/post").unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("`@/install/bare`: there is no key")
            && found[0].contains("`[trusted=yes] @/install/bare`")
    );
    assert!(found[1].starts_with("@/lists/other:1: `@/install/post`: there is no key"), "{found:#?}");
}

#[test]
fn a_kernel_that_is_asked_for_is_pinned_and_what_is_missing_is_said() {
    let mn = Mn::new();
    mn.write("lists/base", "kernel\n");
    let words = ["pkglist=@/lists/base", "pkgdir=http://r/x", "kernelver=5.14.0-70.el9.x86_64"];
    let plan = mn.resolve(&with(&ROCKY, &words)).unwrap().plan;
    assert_eq!(plan.kernel, KernelChoice::Exactly { version: "5.14.0-70.el9.x86_64".into() });
    assert_eq!(plan.passes[0].install[0].name, "kernel-5.14.0-70.el9.x86_64");
    assert_eq!(plan.script_environment["IMG_KERNELVERSION"], "5.14.0-70.el9.x86_64");
    assert_eq!(plan.warnings.len(), 5, "{:?}", plan.warnings);
    assert!(plan.warnings[0].starts_with("no list names `dracut`, for building the initrd"), "{:?}", plan.warnings);
}

#[test]
fn a_script_that_names_the_install_root_needs_an_agent_that_has_it() {
    let mn = Mn::new();
    mn.write("lists/base", BOOT);
    let root = mn.dir.path().display().to_string();
    mn.script("a.sh", &format!("#!/bin/sh\ncp {root}/install/post/x $1/\n"));
    let words = ["pkglist=@/lists/base", "pkgdir=http://r/x bookworm main", "postinstall=@/a.sh"];
    let plan = mn.resolve(&with(&DEBIAN, &words)).unwrap().plan;
    let reasons: Vec<_> = plan.needs_install.iter().map(|reason| mn.short(reason)).collect();
    assert_eq!(reasons, ["the postinstall script `@/a.sh` names `@/install`"]);
    mn.script("a.sh", "#!/bin/sh\nls $IMG_PKGDIR\n");
    let plan = mn.resolve(&with(&DEBIAN, &words)).unwrap().plan;
    assert!(plan.needs_install[0].contains("uses `IMG_PKGDIR`"), "{:?}", plan.needs_install);
}

#[test]
fn an_image_and_a_repository_are_kept_apart() {
    let mn = Mn::new();
    mn.write("lists/base", BOOT);
    mn.apt_suite("install/debian12/amd64", "bookworm", &["main"]);
    for rootimgdir in ["@/install/debian12", "@/install/debian12/amd64", "@/install/debian12/amd64/img"] {
        let rootimgdir = format!("rootimgdir={rootimgdir}");
        let found = mn.resolve(&with(&DEBIAN, &["pkglist=@/lists/base", &rootimgdir])).unwrap_err();
        assert!(found.len() == 1 && found[0].contains("lie in one another"), "{rootimgdir}: {found:?}");
    }
}

#[test]
fn a_bad_line_does_not_hide_what_is_wrong_with_the_good_ones() {
    let mn = Mn::new();
    mn.write("lists/base", &format!("{BOOT}@core\n"));
    mn.write("lists/other", "bad;name\nmpi/openmpi\n");
    let words = ["pkglist=@/lists/base", "pkgdir=http://r/x bookworm main", "otherpkglist=@/lists/other"];
    let found = mn.resolve(&with(&DEBIAN, &words)).unwrap_err();
    let expected = [
        "@/lists/base:4: `@core` is a group, which apt doesn't have",
        "@/lists/other:1: `bad;name` holds ';'",
        "@/lists/other:2: `mpi/openmpi`: there is no directory",
    ];
    let same = found.len() == 3 && found.iter().zip(expected).all(|(problem, text)| problem.starts_with(text));
    assert!(same, "{found:#?}");
}

#[test]
fn a_kernel_repository_counts_if_it_is_given_or_sound() {
    let mn = Mn::new();
    mn.write("lists/base", BOOT);
    mn.write("install/kernels/Packages", "");
    let words = ["pkglist=@/lists/base", "pkgdir=http://r/x bookworm main", "kernelver=6.1.0-35-amd64"];
    let urls = |words: &[&str]| {
        let plan = mn.resolve(&with(&DEBIAN, words)).unwrap().plan;
        plan.repositories.iter().map(|repository| mn.short(&repository.url)).collect::<Vec<_>>()
    };
    assert_eq!(urls(&words), ["http://r/x"]);
    let given = with(&words, &["kerneldir=[trusted=yes] @/install/kernels"]);
    assert_eq!(urls(&given), ["http://r/x", "file://@/install/kernels"]);
    mn.write("install/kernels/InRelease", "");
    assert_eq!(urls(&words), ["http://r/x", "file://@/install/kernels"]);
}
