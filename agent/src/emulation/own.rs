//! Whether this very process runs under emulation.
//!
//! qemu-user answers `uname`, `/proc/self/exe`, `/proc/self/auxv` and `/proc/self/maps` as if the processor were the
//! program's. What the kernel itself has started can still be seen: under the number of a thread, `/proc` shows the file
//! whose code really runs, and that is the emulator, a program for the real processor.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use rustix::thread::gettid;

/// As much of a program's file as names its processor.
const HEAD: usize = 20;

/// The processor's real architecture if it is another one than this program was made for; none where it is the same, or
/// where nothing can be seen of it.
pub fn emulated_on() -> Option<String> {
    let own = head(PathBuf::from("/proc/self/exe"))?;
    // Two spellings of the same file: an emulator that comes to know one may not know the other.
    let spellings = [PathBuf::from("/proc/thread-self/exe"), thread()];
    spellings.into_iter().filter_map(head).find_map(|real| other(&own, &real))
}

/// What to run to run this program once more: a file that stays the same when a newer one is installed in its place.
/// Under emulation that file would be the emulator, so there it is the program's own path.
pub fn program() -> PathBuf {
    let running = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    if emulated_on().is_none() { running } else { std::env::current_exe().unwrap_or(running) }
}

fn thread() -> PathBuf {
    format!("/proc/self/task/{}/exe", gettid().as_raw_nonzero()).into()
}

fn head(path: PathBuf) -> Option<[u8; HEAD]> {
    let mut head = [0; HEAD];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    Some(head)
}

/// The architecture of `real` if it isn't that of `own`; both are beginnings of ELF files.
fn other(own: &[u8; HEAD], real: &[u8; HEAD]) -> Option<String> {
    let is_elf = |head: &[u8; HEAD]| head.starts_with(b"\x7fELF");
    if !is_elf(own) || !is_elf(real) || machine(own) == machine(real) {
        return None;
    }
    Some(name(machine(real)))
}

/// Byte order and processor.
fn machine(head: &[u8; HEAD]) -> (bool, u16) {
    let little = head[5] == 1;
    let bytes = [head[18], head[19]];
    (little, if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
}

fn name((little, number): (bool, u16)) -> String {
    match (number, little) {
        (3, _) => "x86".to_owned(),
        (21, true) => "ppc64le".to_owned(),
        (21, false) => "ppc64".to_owned(),
        (22, _) => "s390x".to_owned(),
        (62, _) => "x86_64".to_owned(),
        (183, _) => "aarch64".to_owned(),
        (243, _) => "riscv".to_owned(),
        _ => format!("a processor of ELF machine {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulation::target;
    use model::arch::Arch;

    fn of(arch: Arch) -> [u8; HEAD] {
        target::program(arch).unwrap()[..HEAD].try_into().unwrap()
    }

    #[test]
    fn another_processor_than_the_programs_is_told_by_its_name() {
        for real in target::KNOWN {
            for own in target::KNOWN {
                let expected = (real != own).then(|| real.to_string());
                assert_eq!(other(&of(own), &of(real)), expected, "{own} on {real}");
            }
        }
        let mut big = of(Arch::Ppc64le);
        (big[5], big[18], big[19]) = (2, 0, 21);
        assert_eq!(other(&of(Arch::Ppc64le), &big).as_deref(), Some("ppc64"));
        assert_eq!(other(&of(Arch::Ppc64le), &[0; HEAD]), None);
    }

    #[test]
    fn a_native_program_is_not_emulated() {
        // The tests themselves are: what is read must be there.
        assert!(head(thread()).is_some());
        assert_eq!(emulated_on(), None);
        assert!(program().starts_with("/proc"));
    }
}
