//! What a kernel's file says of itself: the release that `uname -r` will print, whatever the file is called.

use std::fs;
use std::io;
use std::path::Path;

/// Begins what every kernel says of itself, in an image that is not compressed.
const BANNER: &[u8] = b"Linux version ";

/// The release in a kernel's file; `None` of a format that hides it (a compressed image other than x86's).
pub fn of(file: &Path) -> io::Result<Option<String>> {
    Ok(read(&fs::read(file)?))
}

fn read(kernel: &[u8]) -> Option<String> {
    if kernel.get(0x202..0x206) == Some(b"HdrS") {
        return x86(kernel);
    }
    if kernel.starts_with(b"\x7fELF") {
        let banners = kernel.windows(BANNER.len()).enumerate().filter(|(_, window)| *window == BANNER);
        let mut words = banners.filter_map(|(at, _)| word(&kernel[at + BANNER.len()..]));
        // Drivers say it too, of what they are told at run time.
        return words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    }
    None
}

/// The header has the place of a text, counted from its second sector (Linux, Documentation/arch/x86/boot.rst,
/// `kernel_version`).
fn x86(kernel: &[u8]) -> Option<String> {
    let at = u16::from_le_bytes(kernel.get(0x20e..0x210)?.try_into().ok()?);
    if at == 0 { None } else { word(kernel.get(usize::from(at) + 0x200..)?) }
}

fn word(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| byte.is_ascii_whitespace() || *byte == 0)?;
    let word = str::from_utf8(&text[..end]).ok()?;
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_say_what_they_are() {
        let mut x86 = vec![0; 0x400];
        x86[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(read(&x86), None, "a header without the text");
        x86[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
        x86[0x300..0x314].copy_from_slice(b"6.1.0-56-amd64 (x) #");
        assert_eq!(read(&x86).as_deref(), Some("6.1.0-56-amd64"));
        let elf = b"\x7fELF\x02\x01 padding Linux version %s\0 Linux version 6.12.1-powerpc64le (gcc) #1\0";
        assert_eq!(read(elf).as_deref(), Some("6.12.1-powerpc64le"));
        for other in [&b""[..], b"\x1f\x8b\x08", b"\x7fELF", &x86[..0x20f], b"\x7fELFLinux version"] {
            assert_eq!(read(other), None);
        }
    }
}
