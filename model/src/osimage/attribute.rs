//! Every attribute of an osimage: its name, what it means and what kind of value it holds (XCAT.md 1.1, 1.2).
//!
//! The table is the one source for checks, for `lsdef -h` and for completion. The kinds are checked in
//! `check.rs`; what a value means for a build is the resolver's business.

use crate::plan::Update;

/// The name of the attribute that opens every stanza; it is not settable.
pub const OBJTYPE: &str = "objtype";
/// The object type that this system handles.
pub const OSIMAGE: &str = "osimage";

/// One attribute of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// xCAT's name.
    pub name: &'static str,
    /// What it is for, in one line.
    pub meaning: &'static str,
    /// What kind of value it holds.
    pub kind: Kind,
    /// Whether it may be set only with `imagetype=linux` (XCAT.md 1.2).
    pub linux_only: bool,
}

/// What kind of value an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Free text.
    Text,
    /// Comma list of words.
    List,
    /// Comma list of words that become parts of file names.
    Words,
    /// Comma list of words out of these.
    OneOfEach(&'static [&'static str]),
    /// One absolute path.
    Path,
    /// Comma list of absolute paths.
    Paths,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One word that becomes part of a path or file name.
    Word,
    /// An architecture.
    Arch,
    /// `yes`, `no`, `1` or `0`.
    Bool,
    /// Comma list of `K=V`.
    Environment,
    /// Comma list of `path argument argument`.
    Scripts,
    /// Comma list of repositories.
    Repositories,
    /// An octal mode such as `755`.
    Mode,
    /// NFS mount options of a statelite root.
    NfsRootOptions,
    /// Comma list of `dud:<path>` and `rpm:<path>`.
    DriverSources,
    /// `nfs://<ip>/<path>`, perhaps behind `fadump:`.
    Dump,
}

const fn any(name: &'static str, kind: Kind, meaning: &'static str) -> Attribute {
    Attribute { name, meaning, kind, linux_only: false }
}

const fn linux(name: &'static str, kind: Kind, meaning: &'static str) -> Attribute {
    Attribute { name, meaning, kind, linux_only: true }
}

/// The values of `imagetype`.
pub const IMAGE_TYPES: &[&str] = &["linux", "windows", "NIM"];
/// The values of `provmethod`.
pub const PROVMETHODS: &[&str] = &["install", "netboot", "statelite", "boottarget", "dualboot", "sysclone", "raw"];
const SERVER_ROLES: &[&str] = &["mgtnode", "servicenode", "compute", "login", "storage", "utility"];

/// All attributes, sorted by name.
pub const ATTRIBUTES: &[Attribute] = &[
    linux("addkcmdline", Kind::Text, "extra kernel arguments, separated by blanks"),
    linux("boottarget", Kind::Text, "boottarget that overrides kernel, initrd and arguments"),
    any("cfmdir", Kind::Path, "directory of a Configuration File Manager tree (obsolete)"),
    any("comments", Kind::Text, "free text"),
    linux("crashkernelsize", Kind::Text, "memory kept for the crash kernel when dump is set"),
    any("description", Kind::Text, "free text"),
    any("disable", Kind::Bool, "yes or 1 takes the definition out of use"),
    linux("driverupdatesrc", Kind::DriverSources, "driver update disks (dud:) and driver packages (rpm:)"),
    linux("dump", Kind::Dump, "where kernel dumps go: nfs://<ip>/<path>"),
    any("environvar", Kind::Environment, "variables for the build, its scripts and its lists: K=V,K2=V2"),
    linux("exlist", Kind::Paths, "files with what packimage leaves out"),
    any("groups", Kind::List, "image groups, for litefile and litetree"),
    any("imagetype", Kind::OneOf(IMAGE_TYPES), "kind of system; linux unless given"),
    any("isdeletable", Kind::Text, "housekeeping"),
    linux("kerneldir", Kind::Repositories, "repository of extra kernel packages, used with kernelver"),
    linux("kernelver", Kind::Word, "kernel release to put in the image, as uname -r prints it"),
    any("kitcomponents", Kind::List, "kit components in use"),
    linux("krpmver", Kind::Word, "SLES: version of the kernel package where it differs from kernelver"),
    linux("netdrivers", Kind::List, "drivers for the initrd"),
    any("nfsrootopts", Kind::NfsRootOptions, "mount options of a statelite NFS root"),
    linux("nodebootif", Kind::Word, "boot interface written into the image"),
    any("osarch", Kind::Arch, "architecture: x86_64, ppc64le, aarch64, …"),
    any("osdistroname", Kind::Text, "name of the osdistro, <osvers>-<osarch>"),
    any("osname", Kind::Text, "name of the system; Linux unless given"),
    any("osupdatename", Kind::List, "names of osdistroupdates"),
    any("osvers", Kind::Word, "distribution and version: rhels9.4, debian12"),
    linux("otherifce", Kind::Words, "further interfaces to configure by DHCP"),
    linux("otherpkgdir", Kind::Repositories, "repositories of additional packages"),
    linux("otherpkglist", Kind::Paths, "files that name additional packages"),
    linux("partitionfile", Kind::Text, "partitioning of local disks"),
    linux("permission", Kind::Mode, "mode of statelite's mount point; 755 unless given"),
    linux("pkgdir", Kind::Repositories, "repositories of the system, the base first"),
    linux("pkglist", Kind::Paths, "files that name the packages of the system"),
    any("postbootscripts", Kind::List, "scripts that run on the node after it has booted"),
    linux("postinstall", Kind::Scripts, "scripts that run at the end of the build"),
    any("postscripts", Kind::List, "scripts that run on the node when it boots"),
    any("profile", Kind::Word, "role by which default files are found: compute, service, …"),
    any("provmethod", Kind::OneOf(PROVMETHODS), "how nodes get it: netboot, statelite, install, …"),
    any("rootfstype", Kind::OneOf(&["nfs", "ramdisk"]), "statelite: where the root lives"),
    linux("rootimgdir", Kind::Path, "directory of the kernel, the initrds and the root image"),
    linux("scriptletsmayfail", Kind::List, "rpm: packages whose scriptlets may fail without failing the build"),
    any("serverrole", Kind::OneOfEach(SERVER_ROLES), "roles of the nodes"),
    any("synclists", Kind::Paths, "files that say what is copied into the image"),
    linux("template", Kind::Text, "install images: the installer's template"),
    linux(
        "update",
        Kind::OneOf(Update::WORDS),
        "bring every package up to date: no, otherpkgs (after each of its passes), all",
    ),
    linux("usercomment", Kind::Text, "free text"),
];

/// The attribute of this name.
pub fn find(name: &str) -> Option<&'static Attribute> {
    ATTRIBUTES.iter().find(|attribute| attribute.name == name)
}

/// The attribute whose name is nearest to a mistyped one, if one is near.
pub fn nearest(name: &str) -> Option<&'static Attribute> {
    let name = name.to_lowercase();
    crate::nearest::nearest(&name, ATTRIBUTES.iter().map(|attribute| attribute.name)).and_then(find)
}

/// The items of a comma list, trimmed, without empty ones.
pub fn split_list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_no_attribute_twice() {
        assert!(ATTRIBUTES.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(find("imagename").is_none() && find(OBJTYPE).is_none());
        assert_eq!(ATTRIBUTES.iter().filter(|attribute| attribute.linux_only).count(), 24);
    }

    #[test]
    fn a_typo_leads_to_the_nearest_name() {
        let table = [
            ("pkglst", Some("pkglist")),
            ("PkgList", Some("pkglist")),
            ("otherpkglists", Some("otherpkglist")),
            ("rootimagdir", Some("rootimgdir")),
            ("osarhc", Some("osarch")),
            ("exclude", None),
            ("", None),
        ];
        for (typo, expected) in table {
            assert_eq!(nearest(typo).map(|attribute| attribute.name), expected, "{typo}");
        }
    }
}
