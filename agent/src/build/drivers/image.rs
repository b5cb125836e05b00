//! Images of driver disks: which kind a file is, by its bytes, and its content into a folder, by the tools that a node
//! has. Called by [`super::unpack`]. Nothing is mounted: a loop device would outlive the build's namespaces.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::unpack::tool;
use super::watch::{Limit, Watch};
use super::{cpio, ext, harvest};
use crate::build::failure::StageError;
use crate::sys::exec::Cmd;

/// The first that the node has opens ISO 9660.
const ISO_TOOLS: [&str; 2] = ["bsdtar", "xorriso"];

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Iso,
    Ext,
    Fat {
        /// How long the whole file system says that it is.
        bytes: u64,
    },
    Cpio,
    Gzip,
    Unknown,
}

/// What kind of image a file is.
pub(super) fn kind(path: &Path) -> Result<Kind, StageError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(40 << 10).read_to_end(&mut head));
    read.map_err(StageError::file("read", path))?;
    Ok(recognise(&head))
}

fn recognise(head: &[u8]) -> Kind {
    let has = |at: usize, mark: &[u8]| head.get(at..at + mark.len()) == Some(mark);
    match () {
        () if has(32769, b"CD001") => Kind::Iso,
        () if has(1080, &[0x53, 0xef]) => Kind::Ext,
        () if has(0, b"07070") => Kind::Cpio,
        () if has(0, &[0x1f, 0x8b]) => Kind::Gzip,
        () => fat(head).map_or(Kind::Unknown, |bytes| Kind::Fat { bytes }),
    }
}

/// The length of a FAT file system, from its boot sector. The words `FAT12` in it are missing on old floppies.
fn fat(head: &[u8]) -> Option<u64> {
    let sector = head.get(..512)?;
    let word = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
    let (bytes, cluster, fats, media) = (word(11), sector[13], sector[16], sector[21]);
    let fits = [0xeb, 0xe9].contains(&sector[0])
        && [512, 1024, 2048, 4096].contains(&bytes)
        && cluster.is_power_of_two()
        && [1, 2].contains(&fats)
        && media >= 0xf0;
    let sectors = if word(19) > 0 { word(19) } else { word(32) | word(34) << 16 };
    (fits && sectors > 0).then_some(bytes * sectors)
}

/// The content of an image goes into the watched folder. False: it is none of the kinds.
pub(super) fn extract(image: &Path, watch: &Watch<'_>) -> Result<bool, StageError> {
    let (source, folder) = (watch.source, watch.folder);
    match kind(image)? {
        Kind::Iso => iso(image, watch)?,
        Kind::Ext => {
            tool(&["debugfs"], source, "install e2fsprogs on the node")?;
            ext::extract(image, watch)?;
        }
        Kind::Fat { bytes } => floppy(image, bytes, watch)?,
        Kind::Cpio => {
            watch.limit.of_file(image)?;
            let done = cpio::extract(image, folder, watch.limit).map_err(|error| match error.kind() {
                ErrorKind::StorageFull => StageError::file("unpack", source)(error),
                _ => watch.damaged(&error.to_string()),
            })?;
            done.ok_or_else(|| watch.limit.error(source))?;
        }
        Kind::Gzip | Kind::Unknown => return Ok(false),
    }
    Ok(true)
}

fn iso(image: &Path, watch: &Watch<'_>) -> Result<(), StageError> {
    let hint = "install bsdtar (Debian: libarchive-tools) or xorriso on the node";
    iso_by(tool(&ISO_TOOLS, watch.source, hint)?, image, watch)
}

fn iso_by(program: &str, image: &Path, watch: &Watch<'_>) -> Result<(), StageError> {
    watch.run(program, |cmd| match program {
        "bsdtar" => cmd.arg("-xf").arg(image).arg("-C").arg(watch.folder),
        _ => cmd.args(["-no_rc", "-osirrox", "on", "-indev"]).arg(image).args(["-extract", "/"]).arg(watch.folder),
    })?;
    let renamed = small_letters(watch.folder).map_err(StageError::file("rename the files in", watch.folder))?;
    renamed.map_err(|name| watch.damaged(&format!("in small letters its `{name}` has another's name, or none")))
}

fn floppy(image: &Path, bytes: u64, watch: &Watch<'_>) -> Result<(), StageError> {
    let there = fs::metadata(image).map_err(StageError::file("look at", image))?.len();
    if there < bytes {
        // What is missing would be read as zeros.
        return Err(watch.damaged(&format!("it is {there} bytes long and its file system {bytes}")));
    }
    tool(&["mcopy"], watch.source, "install mtools on the node")?;
    // It is not to ask on a terminal, nor to refuse what is odd but readable.
    let settings = [("MTOOLS_SKIP_CHECK", "1"), ("MTOOLS_LOWER_CASE", "1")];
    let cmd = |cmd: Cmd| {
        let cmd = settings.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
        cmd.args(["-s", "-n", "-i"]).arg(image).arg("::/").arg(watch.folder)
    };
    watch.run("mcopy", cmd).map(|_| ())
}

/// ISO 9660 without extensions has capitals only, and eight of a name. An error: a name that is none, or that another
/// has already.
fn small_letters(folder: &Path) -> io::Result<Result<(), String>> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
            paths.push(entry.path());
        }
    }
    let name = |path: &Path| path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
    if paths.iter().any(|path| name(path).iter().any(u8::is_ascii_lowercase)) {
        return Ok(Ok(()));
    }
    // A folder stands before what is in it.
    for path in paths.iter().rev() {
        let old = name(path);
        let small = old.split(|byte| *byte == b';').next().unwrap_or_default().to_ascii_lowercase();
        if small == old {
            continue;
        }
        let to = path.with_file_name(OsStr::from_bytes(&small));
        if [&b""[..], b".", b".."].contains(&&*small) || to.symlink_metadata().is_ok() {
            return Ok(Err(String::from_utf8_lossy(&old).into_owned()));
        }
        fs::rename(path, to)?;
    }
    for module in harvest::gather(folder).modules {
        // Only as it is, not compressed.
        let readable = module.file.ends_with(".ko") && fs::metadata(&module.path)?.len() <= Limit::MODULE.bytes;
        let own = if readable { harvest::own_name(&fs::read(&module.path)?) } else { None };
        let path = own.map(|own| module.path.with_file_name(format!("{own}.ko")));
        if let Some(path) = path.filter(|path| path.symlink_metadata().is_err()) {
            fs::rename(&module.path, path)?;
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use model::stage::Stage;

    use super::*;
    use crate::worker::report::{Blame, Reporter, StageLog};

    #[test]
    fn an_iso_is_the_same_by_either_program() {
        let dir = tempfile::tempdir().unwrap();
        let shell =
            |script: &str| Cmd::new("bash").args(["-ec", script]).directory(dir.path()).run(&mut |_| {}).unwrap();
        shell("mkdir -p disk/lib; echo > disk/rhdd3; printf '\\0name=driver_of_old\\0' > disk/lib/driver_of_old.ko");
        shell("xorriso -as mkisofs -R -o rock.iso disk; genisoimage -quiet -o bare.iso disk");
        shell("cp rock.iso cut.iso; truncate -s 50k cut.iso");
        // A file of a folder's name, and one of none.
        shell("mkdir odd odd/a; touch odd/b; genisoimage -quiet -o odd.iso odd");
        shell("sed 's/B\\.;1/A;;1/' odd.iso > same.iso; sed 's/B\\.;1/..;1/' odd.iso > dots.iso");
        let reporter = Reporter::new(std::io::sink());
        let log = StageLog::new(Stage::Configure, &reporter);
        for program in ISO_TOOLS {
            for name in ["same.iso", "dots.iso"] {
                let (image, folder) = (dir.path().join(name), dir.path().join(format!("{program}-{name}")));
                fs::create_dir(&folder).unwrap();
                let done = iso_by(program, &image, &Watch::new(&image, &folder, Limit::SOURCE, &log));
                let error = done.unwrap_err();
                let names_it = error.cause.contains(&format!("{name}` is damaged or can't be read: "));
                assert!(names_it && error.blame == Blame::Build, "{program} {name}: {error}");
            }
            for name in ["rock.iso", "bare.iso", "cut.iso"] {
                let (image, folder) = (dir.path().join(name), dir.path().join(format!("{program}-{name}")));
                fs::create_dir(&folder).unwrap();
                let watch = Watch::new(&image, &folder, Limit::SOURCE, &log);
                let done = iso_by(program, &image, &watch);
                assert_eq!(done.is_ok(), name != "cut.iso", "{program} {name}: {done:?}");
                let there = ["rhdd3", "lib/driver_of_old.ko"].iter().all(|name| folder.join(name).is_file());
                assert!(there || done.is_err(), "{program} {name}");
            }
        }
    }

    #[test]
    fn names_that_have_no_small_letters_are_the_images_fault() {
        let dir = tempfile::tempdir().unwrap();
        for (number, (names, renamed)) in [
            (&["RHDD3;1", "A.KO;1", "1", "2;1"][..], Ok(&["1", "2", "a.ko", "rhdd3"][..])),
            (&["RHDD3", "a", "B;1"], Ok(&["B;1", "RHDD3", "a"])),
            (&[";1"], Err(";1")),
            (&["..;1"], Err("..;1")),
            (&[".;1"], Err(".;1")),
            (&["1", "1;1"], Err("1;1")),
            (&["A/B", "A;1"], Err("A")),
        ]
        .into_iter()
        .enumerate()
        {
            let folder = dir.path().join(number.to_string());
            for name in names {
                let path = folder.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            let done = small_letters(&folder).unwrap();
            match renamed {
                Ok(renamed) => {
                    let mut there: Vec<_> =
                        fs::read_dir(&folder).unwrap().map(|one| one.unwrap().file_name()).collect();
                    there.sort();
                    assert_eq!((done, there), (Ok(()), renamed.iter().map(Into::into).collect()));
                }
                // Which of two comes first is the file system's choice.
                Err(name) => {
                    assert!(done.as_ref().is_err_and(|one| one == name || one == "A;1"), "{names:?}: {done:?}")
                }
            }
        }
    }

    #[test]
    fn images_are_known_by_their_bytes() {
        let at = |offset: usize, mark: &[u8]| [vec![0; offset], mark.to_vec()].concat();
        assert_eq!(recognise(&at(32769, b"CD001")), Kind::Iso);
        assert_eq!(recognise(&at(1080, &[0x53, 0xef])), Kind::Ext);
        assert_eq!(recognise(b"070701000"), Kind::Cpio);
        assert_eq!(recognise(&[0x1f, 0x8b, 8]), Kind::Gzip);
        for other in [&b""[..], b"hello", &[0xed, 0xab, 0xee, 0xdb], &[0xeb; 512], &[0; 2048]] {
            assert_eq!(recognise(other), Kind::Unknown);
        }
    }

    #[test]
    fn a_floppy_says_how_long_it_is() {
        let mut sector = vec![0; 512];
        sector[0] = 0xeb;
        sector[11..22].copy_from_slice(&[0, 2, 1, 1, 0, 2, 0xe0, 0, 0x40, 0x0b, 0xf0]);
        assert_eq!(recognise(&sector), Kind::Fat { bytes: 1_474_560 });
        sector[19..21].copy_from_slice(&[0, 0]);
        sector[32..36].copy_from_slice(&[0, 0, 2, 0]);
        assert_eq!(recognise(&sector), Kind::Fat { bytes: 64 << 20 });
    }
}
