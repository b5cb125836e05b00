//! cpio archives, as driver disks and their `modules.cgz` are, into a folder that they cannot leave.
//!
//! Read here and not by a cpio of the node: some of those write through links of the archive (CVE-2015-1197), others
//! leave such members out and end well. Called by [`super::unpack`]; devices and the like are not made.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use super::watch::Limit;

/// What both `cpio -H newc` and `-H crc` write begin with.
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
const TRAILER: &[u8] = b"TRAILER!!!";
/// No path that a kernel takes is longer.
const LONGEST: usize = 4096;
/// Each name may make so many folders.
const DEEPEST: usize = 32;

/// Unpacks an archive into an empty folder. `None`: it holds too many members; its bytes are bounded by the file's.
pub(super) fn extract(archive: &Path, into: &Path, limit: Limit) -> io::Result<Option<()>> {
    let mut stream = Stream { file: BufReader::new(File::open(archive)?), read: 0 };
    let mut links: Vec<(String, PathBuf)> = Vec::new();
    let mut names = Names::default();
    for _ in 0..limit.entries {
        let Some(header) = stream.header()? else {
            // Only now: before that, nothing that is written could go through one.
            for (target, path) in links {
                make_parent(&path)?;
                symlink(target, path)?;
            }
            return Ok(Some(()));
        };
        let path = into.join(below(&header.name)?);
        match header.mode & 0o170_000 {
            0o040_000 => fs::create_dir_all(path)?,
            0o100_000 => {
                make_parent(&path)?;
                let mut file = File::create_new(&path)?;
                stream.content(header.size, &mut file)?;
                names.same(&header, path)?;
            }
            0o120_000 if header.size as usize <= LONGEST => {
                let mut target = Vec::new();
                stream.content(header.size, &mut target)?;
                let target = String::from_utf8(target).map_err(|_| broken("a link's target is no text"))?;
                links.push((target, path));
            }
            _ => stream.content(header.size, &mut io::sink())?,
        }
    }
    Ok(None)
}

struct Header {
    name: Vec<u8>,
    mode: u32,
    size: u32,
    nlink: u32,
    inode: [u32; 3],
}

struct Stream {
    file: BufReader<File>,
    read: u64,
}

impl Stream {
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut head = [0; 110];
        self.fill(&mut head)?;
        if !MAGICS.contains(&&head[..6]) {
            return Err(broken("no header of the formats `newc` or `crc` where one should be"));
        }
        let mut fields = [0_u32; 13];
        for (field, digits) in fields.iter_mut().zip(head[6..].chunks_exact(8)) {
            let number = std::str::from_utf8(digits).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
            *field = number.ok_or_else(|| broken("a field is no number"))?;
        }
        let [inode, mode, _, _, nlink, _, size, major, minor, _, _, length, _] = fields;
        if length == 0 || length as usize > LONGEST {
            return Err(broken("a name has no sensible length"));
        }
        let mut name = vec![0; length as usize];
        self.fill(&mut name)?;
        self.pad()?;
        if name.pop() != Some(0) {
            return Err(broken("a name does not end"));
        }
        Ok((name != TRAILER).then_some(Header { name, mode, size, nlink, inode: [inode, major, minor] }))
    }

    fn content(&mut self, size: u32, to: &mut dyn io::Write) -> io::Result<()> {
        let copied = io::copy(&mut (&mut self.file).take(u64::from(size)), to)?;
        self.read += copied;
        if copied != u64::from(size) {
            return Err(broken("it ends too early"));
        }
        self.pad()
    }

    fn pad(&mut self) -> io::Result<()> {
        let rest = (4 - self.read % 4) % 4;
        self.fill(&mut [0; 4][..rest as usize])
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => broken("it ends too early"),
            _ => error,
        })?;
        self.read += buffer.len() as u64;
        Ok(())
    }
}

/// Of several names of a file only one comes with its content, mostly the last.
#[derive(Default)]
struct Names {
    full: HashMap<[u32; 3], PathBuf>,
    empty: HashMap<[u32; 3], Vec<PathBuf>>,
}

impl Names {
    fn same(&mut self, header: &Header, path: PathBuf) -> io::Result<()> {
        if header.nlink < 2 {
            return Ok(());
        }
        if header.size > 0 {
            self.full.insert(header.inode, path);
        } else {
            self.empty.entry(header.inode).or_default().push(path);
        }
        let Some(full) = self.full.get(&header.inode) else { return Ok(()) };
        for name in self.empty.remove(&header.inode).unwrap_or_default() {
            fs::remove_file(&name)?;
            fs::hard_link(full, name)?;
        }
        Ok(())
    }
}

/// A member's path below the folder.
fn below(name: &[u8]) -> io::Result<PathBuf> {
    let name = std::str::from_utf8(name).map_err(|_| broken("a name is no text"))?;
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            Component::ParentDir => return Err(broken(&format!("`{name}` leads out of its folder"))),
        }
    }
    if path.components().count() > DEEPEST {
        return Err(broken(&format!("`{name}` lies in too many folders")));
    }
    Ok(path)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_folder() {
        for (name, path) in [("./a/b", "a/b"), ("/a", "a"), (".", ""), ("a//b", "a/b")] {
            assert_eq!(below(name.as_bytes()).unwrap(), Path::new(path));
        }
        for name in ["..", "a/../../b", &"a/".repeat(40)] {
            below(name.as_bytes()).unwrap_err();
        }
        below(&[0xff]).unwrap_err();
    }

    #[test]
    fn all_names_of_a_file_have_its_content() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::write(dir.path().join("in/a"), "content").unwrap();
        fs::hard_link(dir.path().join("in/a"), dir.path().join("in/b")).unwrap();
        symlink("a", dir.path().join("in/c")).unwrap();
        let script = "cd in; find . | cpio -o -H newc --quiet > ../archive; mkdir ../out";
        crate::sys::exec::Cmd::new("bash").args(["-ec", script]).directory(dir.path()).run(&mut |_| {}).unwrap();
        let extract =
            |entries| extract(&dir.path().join("archive"), &dir.path().join("out"), Limit { bytes: 0, entries });
        assert!(extract(2).unwrap().is_none());
        fs::read_dir(dir.path().join("out")).unwrap().flatten().for_each(|one| fs::remove_file(one.path()).unwrap());
        assert!(extract(10).unwrap().is_some());
        for name in ["a", "b", "c"] {
            assert_eq!(fs::read_to_string(dir.path().join("out").join(name)).unwrap(), "content", "{name}");
        }
        assert!(dir.path().join("out/c").is_symlink());
    }
}
