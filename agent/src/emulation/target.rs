//! The smallest program of an architecture: it writes one line and ends.
//!
//! Made here word by word, so that an agent needs no file and no compiler to find out whether programs of an
//! architecture run. It uses no library, and so nothing but the kernel, or who stands in for it.

use model::arch::Arch;

/// The architectures that there is a program for.
pub const KNOWN: [Arch; 3] = [Arch::Ppc64le, Arch::Aarch64, Arch::X86_64];

/// Where it is loaded: a multiple of the largest page that Linux has on any of them.
const BASE: u32 = 0x1000_0000;
/// Of the ELF header and of its one program header.
const HEADERS: u32 = 64 + 56;

/// What the program writes.
pub fn line(arch: Arch) -> String {
    format!("imgctl {arch}\n")
}

/// The file; none for an architecture that it was not written for.
pub fn program(arch: Arch) -> Option<Vec<u8>> {
    let line = line(arch);
    let length = u16::try_from(line.len()).ok()?;
    let (machine, flags, code) = match arch {
        // Flags: version 2 of its ABI.
        Arch::Ppc64le => (21, 2, ppc64le(length)),
        Arch::Aarch64 => (183, 0, aarch64(length)),
        Arch::X86_64 => (62, 0, x86_64(length)),
        _ => return None,
    };
    let mut file = headers(machine, flags, code.len() + line.len());
    file.extend(code);
    file.extend(line.as_bytes());
    Some(file)
}

/// Where the line lies when the program is in memory.
fn address(code: usize) -> u32 {
    BASE + HEADERS + code as u32
}

fn ppc64le(length: u16) -> Vec<u8> {
    let line = address(9 * 4);
    let (high, low) = (line >> 16, line & 0xffff);
    let words = [
        0x3800_0004,                     // li   r0, 4       the call `write`
        0x3860_0001,                     // li   r3, 1       standard output
        0x3c80_0000 | high,              // lis  r4, high    the line
        0x6084_0000 | low,               // ori  r4, r4, low
        0x38a0_0000 | u32::from(length), // li   r5, length
        0x4400_0002,                     // sc
        0x3800_0001,                     // li   r0, 1       the call `exit`
        0x3860_0000,                     // li   r3, 0       all is well
        0x4400_0002,                     // sc
    ];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn aarch64(length: u16) -> Vec<u8> {
    let line = address(9 * 4);
    let (high, low) = (line >> 16, line & 0xffff);
    let words = [
        0xd280_0808,                            // mov  x8, #64     the call `write`
        0xd280_0020,                            // mov  x0, #1      standard output
        0xd280_0001 | (low << 5),               // movz x1, #low    the line
        0xf2a0_0001 | (high << 5),              // movk x1, #high, lsl #16
        0xd280_0002 | (u32::from(length) << 5), // mov  x2, #length
        0xd400_0001,                            // svc  #0
        0xd280_0ba8,                            // mov  x8, #93     the call `exit`
        0xd280_0000,                            // mov  x0, #0      all is well
        0xd400_0001,                            // svc  #0
    ];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn x86_64(length: u16) -> Vec<u8> {
    let mut code = vec![0xb8, 1, 0, 0, 0]; //   mov eax, 1        the call `write`
    code.extend([0xbf, 1, 0, 0, 0]); //         mov edi, 1        standard output
    code.push(0xbe); //                         mov esi, line
    code.extend(address(33).to_le_bytes());
    code.push(0xba); //                         mov edx, length
    code.extend(u32::from(length).to_le_bytes());
    code.extend([0x0f, 0x05]); //               syscall
    code.extend([0xb8, 60, 0, 0, 0]); //        mov eax, 60       the call `exit`
    code.extend([0x31, 0xff]); //               xor edi, edi      all is well
    code.extend([0x0f, 0x05, 0x0f, 0x0b]); //   syscall; ud2
    code
}

/// An ELF header for 64 bits, low byte first, and a program header that loads the whole file, to be read and run.
fn headers(machine: u16, flags: u32, content: usize) -> Vec<u8> {
    let size = (HEADERS as usize + content) as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| file.extend(bytes);
    put(&2_u16.to_le_bytes()); // an executable
    put(&machine.to_le_bytes());
    put(&1_u32.to_le_bytes()); // of version 1
    put(&u64::from(BASE + HEADERS).to_le_bytes()); // begins here
    put(&64_u64.to_le_bytes()); // its program header is there
    put(&0_u64.to_le_bytes()); // it has no sections
    put(&flags.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        put(&half.to_le_bytes()); // sizes and numbers of headers
    }
    put(&1_u32.to_le_bytes()); // to be loaded
    put(&5_u32.to_le_bytes()); // to be read and run
    put(&0_u64.to_le_bytes()); // from the beginning of the file
    put(&u64::from(BASE).to_le_bytes());
    put(&u64::from(BASE).to_le_bytes());
    put(&size.to_le_bytes());
    put(&size.to_le_bytes());
    put(&0x1_0000_u64.to_le_bytes()); // pages of 64 KiB
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulation::trial;

    #[test]
    fn each_line_follows_its_code() {
        for arch in KNOWN {
            let (program, line) = (program(arch).unwrap(), line(arch));
            let at = program.len() - line.len();
            assert_eq!(&program[at..], line.as_bytes());
            assert_eq!(u64::from_le_bytes(program[96..104].try_into().unwrap()) as usize, program.len());
        }
        assert_eq!(program(Arch::S390x), None);
    }

    #[test]
    fn the_programs_own_architecture_runs_in_an_empty_root() {
        let native = std::env::consts::ARCH.parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        trial::run(native, folder.path(), || unreachable!("it runs")).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "it leaves nothing");
    }
}
