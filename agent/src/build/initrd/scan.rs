//! Looks into an uncompressed initrd: one or several newc archives, one after the other.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use super::drivers::module_name;

const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";
/// No path is longer on Linux.
const LONGEST_NAME: u64 = 4096;

/// What an initrd holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// `/init` is there.
    pub(super) has_init: bool,
    /// The modules of the right kernel, by name.
    pub(super) modules: BTreeSet<String>,
    /// Names in all archives.
    pub(super) files: u64,
    /// The length of the archives in front that hold microcode only, with their padding.
    pub(super) early_bytes: u64,
}

/// Reads it to its end.
pub(super) fn scan(input: impl BufRead, kernel: &str) -> io::Result<Scan> {
    let mut reader = Counting { input, position: 0 };
    let mut scan = Scan::default();
    let mut early = true;
    while reader.next_archive()? {
        let start = reader.position;
        if early && !archive(&mut reader, kernel, &mut scan)? {
            early = false;
            scan.early_bytes = start;
        } else if !early {
            archive(&mut reader, kernel, &mut scan)?;
        }
    }
    Ok(scan)
}

/// Reads one archive; says whether it is one that the kernel must read before it can decompress.
fn archive(reader: &mut Counting<impl BufRead>, kernel: &str, scan: &mut Scan) -> io::Result<bool> {
    let modules = [format!("usr/lib/modules/{kernel}/"), format!("lib/modules/{kernel}/")];
    let mut only_microcode = true;
    loop {
        let header = reader.header()?;
        let name = reader.name(header.name_bytes)?;
        reader.skip(header.file_bytes)?;
        reader.align()?;
        if name == TRAILER {
            return Ok(only_microcode);
        }
        let path = name.strip_prefix(b"./").unwrap_or(&name);
        let microcode = path == b"." || path == b"early_cpio" || path == b"kernel" || path.starts_with(b"kernel/");
        only_microcode &= microcode;
        scan.files += 1;
        scan.has_init |= path == b"init";
        if modules.iter().any(|folder| path.starts_with(folder.as_bytes())) {
            scan.modules.extend(module(path));
        }
    }
}

/// The name of a module by its path: `kernel/net/virtio-net.ko.xz` is `virtio_net`.
fn module(path: &[u8]) -> Option<String> {
    let file = path.rsplit(|byte| *byte == b'/').next()?;
    let file = std::str::from_utf8(file).ok()?;
    let is_module = file.split_once(".ko").is_some_and(|(_, end)| end.is_empty() || end.starts_with('.'));
    is_module.then(|| module_name(file))
}

struct Header {
    file_bytes: u64,
    name_bytes: u64,
}

struct Counting<R> {
    input: R,
    position: u64,
}

impl<R: BufRead> Counting<R> {
    /// Passes over the zeros between two archives; false at the end of the input.
    fn next_archive(&mut self) -> io::Result<bool> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
            let more = zeros < buffer.len();
            self.input.consume(zeros);
            self.position += zeros as u64;
            if more {
                return Ok(true);
            }
        }
    }

    fn header(&mut self) -> io::Result<Header> {
        let mut bytes = [0; HEADER];
        self.input.read_exact(&mut bytes)?;
        self.position += HEADER as u64;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is not an uncompressed cpio archive");
        if !bytes.starts_with(b"070701") && !bytes.starts_with(b"070702") {
            return Err(damaged());
        }
        let field = |index: usize| {
            let digits = std::str::from_utf8(&bytes[6 + index * 8..14 + index * 8]).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        let header = Header { file_bytes: field(6).ok_or_else(damaged)?, name_bytes: field(11).ok_or_else(damaged)? };
        if (1..=LONGEST_NAME).contains(&header.name_bytes) { Ok(header) } else { Err(damaged()) }
    }

    fn name(&mut self, bytes: u64) -> io::Result<Vec<u8>> {
        let mut name = Vec::new();
        (&mut self.input).take(bytes).read_to_end(&mut name)?;
        self.position += bytes;
        name.pop();
        self.align()?;
        Ok(name)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.input).take(bytes), &mut io::sink())?;
        self.position += skipped;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn align(&mut self) -> io::Result<()> {
        self.skip(self.position.next_multiple_of(4) - self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive_of(names: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for name in names.iter().copied().chain(["TRAILER!!!"]) {
            let content: &[u8] = if name.ends_with(".bin") { b"xyz" } else { b"" };
            let mut fields = [0usize; 13];
            (fields[6], fields[11]) = (content.len(), name.len() + 1);
            bytes.extend(b"070701");
            fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
            for part in [[name.as_bytes(), b"\0"].concat(), content.to_vec()] {
                bytes.extend(part);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
        }
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    #[test]
    fn init_and_the_right_modules_are_found() {
        let bytes = archive_of(&["init", "usr/lib/modules/6.1.0/kernel/virtio-net.ko.xz", "lib/modules/6.1.0/a.koala"]);
        let scan_of = |kernel| scan(&bytes[..], kernel).unwrap();
        let modules = BTreeSet::from(["virtio_net".to_owned()]);
        assert_eq!(scan_of("6.1.0"), Scan { has_init: true, modules, files: 3, early_bytes: 0 });
        assert!(scan_of("6.1.1").modules.is_empty());
    }

    #[test]
    fn microcode_in_front_is_measured() {
        let early = archive_of(&["early_cpio", "kernel", "kernel/x86/microcode/GenuineIntel.bin"]);
        let bytes = [early.clone(), archive_of(&["init", "lib/modules/6/kernel/a.ko"])].concat();
        let found = scan(&bytes[..], "6").unwrap();
        assert_eq!((found.early_bytes, found.files), (early.len() as u64, 5));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert_eq!(scan(&b""[..], "6").unwrap(), Scan::default());
        assert!(scan(&[0x1f; 200][..], "6").is_err());
        let cut = archive_of(&["init"]);
        assert!(scan(&cut[..100], "6").is_err());
    }
}
