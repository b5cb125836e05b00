//! ext2, ext3 and ext4 images, by debugfs of e2fsprogs. It ends well whatever happens, fills holes, and would write
//! wherever a name of the image leads; so every folder is listed and judged before anything is taken out, files come out
//! under numbers, and only here do they get their names. Links, devices and the like stay in the image.
//!
//! Called by [`super::image`]. Never gives debugfs a name of the image.

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow::{Break, Continue};
use std::path::{Path, PathBuf, absolute};

use super::watch::{Limit, Watch};
use crate::build::failure::StageError;

/// Always the root's inode.
const ROOT: u64 = 2;
/// No driver disk has more; each is one run of debugfs.
const FOLDERS: usize = 1000;
/// In bytes; no file system takes a longer name.
const LONGEST_NAME: usize = 255;
/// Of a path below the folder, so that the whole is one that a kernel takes.
const LONGEST_PATH: usize = 2048;
/// What debugfs is to do, beside what it writes; no file's number.
const REQUESTS: &str = "requests";

/// Takes the folders and files out of an image.
pub(super) fn extract(image: &Path, watch: &Watch<'_>) -> Result<(), StageError> {
    // debugfs runs in another folder.
    let image = absolute(image).map_err(StageError::file("look at", image))?;
    let content = judge(&image, watch)?;
    if content.others > 0 {
        watch.log.say(format!("{} links, devices and the like of the image are left out", content.others));
    }
    let desk = watch.folder.with_extension("numbered");
    fs::create_dir(&desk).map_err(StageError::file("make", &desk))?;
    dump(&image, &content.files, &Watch { folder: &desk, ..*watch })?;
    for folder in content.folders {
        let path = watch.folder.join(folder);
        fs::create_dir(&path).map_err(StageError::file("make", &path))?;
    }
    for (number, file) in content.files.iter().enumerate() {
        let (from, to) = (desk.join(number.to_string()), watch.folder.join(&file.path));
        fs::rename(from, &to).map_err(StageError::file("make", &to))?;
    }
    Ok(())
}

/// What is to come out, with paths that were checked.
#[derive(Debug, Default)]
struct Content {
    /// Each behind the one that it lies in.
    folders: Vec<PathBuf>,
    files: Vec<Wanted>,
    others: u64,
}

#[derive(Debug)]
struct Wanted {
    inode: u64,
    size: u64,
    path: PathBuf,
}

fn judge(image: &Path, watch: &Watch<'_>) -> Result<Content, StageError> {
    let Limit { bytes: mut room, entries } = watch.limit;
    let (mut seen, mut waiting, mut count) = (HashSet::from([ROOT]), vec![(ROOT, PathBuf::new())], 0);
    let mut content = Content::default();
    while let Some((folder, above)) = waiting.pop() {
        for entry in list(image, folder, watch)? {
            count += 1;
            let left = if entry.is_file() { room.checked_sub(entry.size) } else { Some(room) };
            // One less than may be there: the requests are a file too.
            room = left
                .filter(|_| count < entries && seen.len() <= FOLDERS)
                .ok_or_else(|| watch.limit.error(watch.source))?;
            let path = above.join(&entry.name);
            if path.as_os_str().len() > LONGEST_PATH {
                return Err(watch.damaged(&format!("its `{}` lies in too many folders", entry.name)));
            }
            if entry.is_folder() {
                if !seen.insert(entry.inode) {
                    return Err(watch.damaged(&format!("its folder `{}` is in it twice", entry.name)));
                }
                content.folders.push(path.clone());
                waiting.push((entry.inode, path));
            } else if entry.is_file() {
                content.files.push(Wanted { inode: entry.inode, size: entry.size, path });
            } else {
                content.others += 1;
            }
        }
    }
    Ok(content)
}

fn list(image: &Path, folder: u64, watch: &Watch<'_>) -> Result<Vec<Entry>, StageError> {
    let (mut listing, mut fault) = (Listing::default(), None);
    let request = format!("ls -p <{folder}>");
    watch.hear("debugfs", |cmd| cmd.arg("-R").arg(request).arg(image), &mut |line| {
        if !listing.takes(line) {
            fault = Some(watch.damaged(line));
        } else if listing.lines > watch.limit.entries {
            fault = Some(watch.limit.error(watch.source));
        }
        if fault.is_some() { Break(()) } else { Continue(()) }
    })?;
    fault.map_or(Ok(listing.entries), Err)
}

/// Writes the content of each file under its number into the watched folder.
fn dump(image: &Path, files: &[Wanted], watch: &Watch<'_>) -> Result<(), StageError> {
    let requests: Vec<String> =
        files.iter().enumerate().map(|(number, file)| format!("dump <{}> {number}", file.inode)).collect();
    let script = watch.folder.join(REQUESTS);
    fs::write(&script, requests.join("\n") + "\n").map_err(StageError::file("write", &script))?;
    // Each request is echoed. Whatever else is said, also in the middle of an echo, is an error's text.
    let (mut expected, mut first, mut strange) = (requests.iter(), true, None);
    let cmd = |cmd: crate::sys::exec::Cmd| cmd.directory(watch.folder).args(["-f", REQUESTS]).arg(image);
    watch.hear("debugfs", cmd, &mut |line| {
        let is_banner = std::mem::take(&mut first) && is_banner(line);
        if is_banner || line.strip_prefix("debugfs: ").is_some_and(|echo| expected.next().is_some_and(|it| it == echo))
        {
            return Continue(());
        }
        strange = Some(line.to_owned());
        Break(())
    })?;
    if let Some(line) = strange {
        return Err(watch.damaged(&line));
    }
    for (number, file) in files.iter().enumerate() {
        let path = watch.folder.join(number.to_string());
        let size = fs::symlink_metadata(&path).map_err(StageError::file("look at", &path))?.len();
        // Also where a name with line ends in it posed as the entry of another file.
        if size != file.size {
            let (path, said) = (file.path.display(), file.size);
            return Err(watch.damaged(&format!("its `{path}` has {size} bytes and should have {said}")));
        }
    }
    Ok(())
}

/// What `ls -p` says, line by line. It prints names as they are: one with line ends in it is several lines, of which
/// each is taken for what it looks like, so none of them may be passed over.
#[derive(Debug, Default)]
struct Listing {
    /// Not only entries: a folder may be one block of empty ones over and over, as good as without an end.
    lines: u64,
    ended: bool,
    names: HashSet<String>,
    entries: Vec<Entry>,
}

impl Listing {
    /// False: no such line can be in the list of an honest folder.
    fn takes(&mut self, line: &str) -> bool {
        self.lines += 1;
        if self.lines == 1 && is_banner(line) {
            return true;
        }
        if self.ended || line.is_empty() {
            return !std::mem::replace(&mut self.ended, true);
        }
        let Some(entry) = entry(line) else { return false };
        // An inode of 0 is room in the folder that nothing is in.
        if entry.inode == 0 {
            return true;
        }
        let is_dots = entry.name == "." || entry.name == "..";
        // The second of a name would replace the first.
        if !self.names.insert(entry.name.clone()) || (is_dots && !entry.is_folder()) {
            return false;
        }
        if is_dots {
            return true;
        }
        let plain = is_plain(&entry.name);
        self.entries.push(entry);
        plain
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    inode: u64,
    mode: u32,
    name: String,
    size: u64,
}

impl Entry {
    fn is_folder(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

/// `/12/040755/0/0/lib//`: inode, mode, owner, group, name, length. Anything else is an error's text, or has a name that
/// no kernel would have made.
fn entry(line: &str) -> Option<Entry> {
    let parts: Vec<&str> = line.strip_prefix('/')?.strip_suffix('/')?.split('/').collect();
    let [inode, mode, _, _, name, size] = parts.as_slice() else { return None };
    let size = if size.is_empty() { 0 } else { size.parse().ok()? };
    let mode = u32::from_str_radix(mode, 8).ok()?;
    Some(Entry { inode: inode.parse().ok()?, mode, name: (*name).to_owned(), size })
}

/// Whether a file may be called so. What a line can't show, a terminal's commands for one, is `\x1b` in it by now.
fn is_plain(name: &str) -> bool {
    let is_name = !name.is_empty() && name != "." && name != ".." && name.len() <= LONGEST_NAME;
    is_name && !name.chars().any(|char| char == '/' || char.is_control())
}

/// The very first line of what debugfs says.
fn is_banner(line: &str) -> bool {
    line.starts_with("debugfs 1.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_name() {
        let file = Entry { inode: 17, mode: 0o100644, name: "a b.ko".to_owned(), size: 300 };
        assert_eq!(entry("/17/100644/0/0/a b.ko/300/"), Some(file));
        assert_eq!(entry("/12/040755/0/0/lib//").map(|entry| (entry.is_folder(), entry.size)), Some((true, 0)));
        for other in ["/17/100644/0/0/../../etc/x/300/", "/17/100644/0/0/a", "ls: Corrupt directory"] {
            assert_eq!(entry(other), None, "{other}");
        }
    }

    #[test]
    fn no_line_of_a_list_is_passed_over() {
        let start = ["debugfs 1.47.0 (5-Feb-2023)", "/2/040755/0/0/.//", "/2/040755/0/0/..//", "/0/000000/0/0//0/"];
        let listed = |line: &str| {
            let mut listing = Listing::default();
            assert!(start.iter().all(|line| listing.takes(line)));
            listing.takes(line) && listing.takes("") && listing.entries.len() == 1
        };
        assert!(listed("/12/100644/0/0/a/3/") && listed("/12/040755/0/0/...//"));
        for other in [
            "debugfs 1./../../node/evil/3/",
            "debugfs 1.47.0 (5-Feb-2023)",
            "",
            "/0/",
            "/0/x",
            "/12/100644/0/0//3/",
            "/12/100644/0/0/a\tb/3/",
            "/12/040755/0/0/.//",
            "/12/040755/0/0/..//",
            &format!("/12/100644/0/0/{}/3/", "a".repeat(256)),
        ] {
            assert!(!listed(other), "{other}");
        }
        for (line, taken) in
            [("/2/040755/0/0/.//", true), ("/2/100644/0/0/./3/", false), ("/2/120777/0/0/../3/", false)]
        {
            assert_eq!(Listing::default().takes(line), taken, "{line}");
        }
    }
}
