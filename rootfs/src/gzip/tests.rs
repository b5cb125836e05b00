use super::*;
use proptest::prelude::*;
use std::io::Read;
use std::process::{Command, Stdio};

fn gzip(data: &[u8], level: u8, threads: usize, piece: usize) -> Vec<u8> {
    let threads = NonZeroUsize::new(threads).unwrap();
    let mut writer = GzipWriter::new(Vec::new(), GzipLevel::new(level), threads).unwrap();
    for piece in data.chunks(piece.max(1)) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap()
}

fn gunzip_by_tool(stream: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let stream = stream.to_vec();
    let feeder = thread::spawn(move || stdin.write_all(&stream));
    let mut data = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut data).unwrap();
    assert!(child.wait().unwrap().success(), "gzip does not like the stream");
    feeder.join().unwrap().unwrap();
    data
}

/// Text that repeats itself here and there, with stretches of noise: both of deflate's paths.
fn mixed(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut data = Vec::with_capacity(length + 64);
    while data.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        match state >> 62 {
            0 => data.extend_from_slice(b"the quick brown fox jumps over the lazy dog\n"),
            1 => data.extend_from_slice(&state.to_le_bytes()),
            _ => data.extend_from_slice(format!("{} ", state >> 58).as_bytes()),
        }
    }
    data.truncate(length);
    data
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn same_for_all(data: &[u8], level: u8) {
    let one = gzip(data, level, 1, usize::MAX);
    assert!(gunzip_by_tool(&one) == data);
    assert!(gzip(data, level, 4, 1000) == one, "threads or pieces change the bytes");
    // One member: a decoder that stops after the first has everything.
    let mut first = Vec::new();
    flate2::read::GzDecoder::new(&one[..]).read_to_end(&mut first).unwrap();
    assert!(first == data);
}

#[test]
fn lengths_about_a_block_are_whole_and_independent_of_threads() {
    for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 777] {
        same_for_all(&mixed(length, 7), 6);
    }
    for level in [1, 9] {
        same_for_all(&mixed(3 * BLOCK + 5, 3), level);
    }
}

#[test]
fn incompressible_data_survives() {
    let noise = noise(2 * BLOCK + 3);
    same_for_all(&noise, 6);
}

#[test]
fn the_dictionary_is_used() {
    // Noise that comes again within a window: without the dictionary each block would have to spell it anew,
    // and the whole would take 180,000 bytes.
    let data: Vec<u8> = noise(20_000).into_iter().cycle().take(8 * BLOCK).collect();
    assert!(gzip(&data, 6, 2, usize::MAX).len() < 60_000);
}

/// Takes some bytes, then fails for good.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn threads_named_gzip() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: io::Result<std::fs::DirEntry>| std::fs::read(task.ok()?.path().join("comm")).ok();
    tasks.filter_map(name).filter(|name| name.starts_with(b"gzip-") && name.len() > b"gzip-".len() + 2).count()
}

#[test]
fn a_full_disk_stops_the_writer_and_its_threads() {
    // 17 threads have names of two digits, which no other test here uses.
    let threads = NonZeroUsize::new(17).unwrap();
    let mut writer = GzipWriter::new(Full(1000), GzipLevel::new(1), threads).unwrap();
    let data = mixed(60 * BLOCK, 5);
    let error = writer.write_all(&data).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(writer.write_all(&data[..BLOCK + 1]).is_err());
    assert!(writer.finish().is_err());
    assert_eq!(threads_named_gzip(), 0);
}

#[test]
fn dropping_a_writer_ends_its_threads() {
    let threads = NonZeroUsize::new(9).unwrap();
    let mut writer = GzipWriter::new(Vec::new(), GzipLevel::new(9), threads).unwrap();
    writer.write_all(&mixed(20 * BLOCK, 5)).unwrap();
    drop(writer);
}

/// A reset of zlib-rs' state is not a fresh state: of this input it made one byte less.
#[test]
fn a_thread_keeps_nothing_of_its_last_block() {
    let data = mixed(280_680, 8_191_891_656_983_567_492);
    for level in 1..=9 {
        assert!(gzip(&data, level, 1, usize::MAX) == gzip(&data, level, 4, usize::MAX), "level {level}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn gzip_reads_what_we_write(
        length in 0usize..3 * BLOCK,
        seed: u64,
        level in 1u8..=9,
        threads in 1usize..5,
        piece in 1usize..100_000,
    ) {
        let data = mixed(length, seed);
        let ours = gzip(&data, level, threads, piece);
        prop_assert!(gunzip_by_tool(&ours) == data);
        prop_assert!(gzip(&data, level, 1, usize::MAX) == ours);
    }
}
