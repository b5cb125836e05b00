//! [`GzipWriter`]: gzip on several cores, as one member, the same bytes for any number of cores.
//!
//! The stream is cut into blocks of fixed length. Each is deflated by itself with the 32 KiB before it as dictionary,
//! ended on a byte boundary, and written in order (the way of pigz). One member matters: the kernel's initramfs
//! unpacker runs its decompressor once for each and takes a member that ends inside an archive for junk.
//!
//! The caller's thread writes the output, so the writer below needs to be neither `Send` nor thread-safe, and a
//! failed write stops the next `write` call. Worker threads end when this is dropped, whatever happened.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crc32fast::Hasher;
use flate2::{Compress, FlushCompress, Status};

/// Long enough that the dictionary and the boundary cost nothing, short enough to keep all cores busy at the end.
const BLOCK: usize = 256 * 1024;
/// As far back as deflate can refer.
const WINDOW: usize = 32 * 1024;
/// Magic, deflate, no flags, no time, no extra flags, unknown system: nothing that differs between two runs.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// How hard to try, 1 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GzipLevel(u8);

impl GzipLevel {
    /// A level of 1 to 9; others are brought to the nearest.
    pub fn new(level: u8) -> GzipLevel {
        GzipLevel(level.clamp(1, 9))
    }
}

impl Default for GzipLevel {
    /// 6, as gzip's.
    fn default() -> Self {
        GzipLevel(6)
    }
}

/// A stretch of the stream on its way to a worker.
struct Block {
    data: Vec<u8>,
    dictionary: Vec<u8>,
    last: bool,
    answer: SyncSender<io::Result<Deflated>>,
}

/// What a worker made of it.
struct Deflated {
    bytes: Vec<u8>,
    crc: Hasher,
    /// The buffer, to be filled again.
    data: Vec<u8>,
}

/// Compresses what is written to it into `W`; the stream is complete only after [`GzipWriter::finish`].
pub struct GzipWriter<W: Write> {
    out: W,
    filling: Vec<u8>,
    dictionary: Vec<u8>,
    spare: Vec<Vec<u8>>,
    flying: VecDeque<Receiver<io::Result<Deflated>>>,
    flying_limit: usize,
    crc: Hasher,
    length: u64,
    failed: bool,
    crew: Crew,
}

impl<W: Write> GzipWriter<W> {
    /// Writes the header to `out` and starts `threads` workers.
    pub fn new(mut out: W, level: GzipLevel, threads: NonZeroUsize) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        let flying_limit = threads.get() * 2;
        Ok(GzipWriter {
            out,
            filling: Vec::with_capacity(BLOCK),
            dictionary: Vec::new(),
            spare: Vec::new(),
            flying: VecDeque::new(),
            flying_limit,
            crc: Hasher::new(),
            length: 0,
            failed: false,
            crew: Crew::start(level, threads, flying_limit)?,
        })
    }

    /// Writes what is left and the trailer, and gives back the writer below, unflushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.dispatch(true)?;
        while !self.flying.is_empty() {
            self.collect()?;
        }
        self.out.write_all(&self.crc.clone().finalize().to_le_bytes())?;
        // The format keeps the length modulo 4 GiB.
        self.out.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.out)
    }

    fn dispatch(&mut self, last: bool) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("compressed stream has failed before"));
        }
        while self.flying.len() >= self.flying_limit {
            self.collect()?;
        }
        let data = std::mem::replace(&mut self.filling, self.spare.pop().unwrap_or_default());
        self.filling.clear();
        self.filling.reserve(BLOCK);
        let tail = data[data.len().saturating_sub(WINDOW)..].to_vec();
        let dictionary = std::mem::replace(&mut self.dictionary, tail);
        self.length += data.len() as u64;
        // One answer each: a worker never waits to give it.
        let (answer, answered) = sync_channel(1);
        self.crew.send(Block { data, dictionary, last, answer })?;
        self.flying.push_back(answered);
        Ok(())
    }

    /// Waits for the oldest block and writes it.
    fn collect(&mut self) -> io::Result<()> {
        let Some(answered) = self.flying.pop_front() else {
            return Ok(());
        };
        let done = match answered.recv() {
            Ok(Ok(deflated)) => self.out.write_all(&deflated.bytes).map(|()| {
                self.crc.combine(&deflated.crc);
                self.spare.push(deflated.data);
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("a compressing thread ended early")),
        };
        // A block is missing from now on: nothing after it may be written.
        self.failed |= done.is_err();
        done
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full block goes only when more follows, so that the last one is never empty by accident of its length.
        if self.filling.len() == BLOCK {
            self.dispatch(false)?;
        }
        let take = bytes.len().min(BLOCK - self.filling.len());
        self.filling.extend_from_slice(&bytes[..take]);
        Ok(take)
    }

    /// Does nothing: a block is only deflated when it is full, or its length would depend on the caller.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> std::fmt::Debug for GzipWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GzipWriter").field("length", &self.length).finish_non_exhaustive()
    }
}

/// The worker threads and the way to them.
struct Crew {
    blocks: Option<SyncSender<Block>>,
    workers: Vec<JoinHandle<()>>,
}

impl Crew {
    fn start(level: GzipLevel, threads: NonZeroUsize, queue: usize) -> io::Result<Crew> {
        // As long as the blocks in flight: sending never waits.
        let (blocks, receiver) = sync_channel(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut crew = Crew { blocks: Some(blocks), workers: Vec::new() };
        for number in 0..threads.get() {
            let receiver = Arc::clone(&receiver);
            let worker = thread::Builder::new().name(format!("gzip-{number}"));
            crew.workers.push(worker.spawn(move || work(level, &receiver))?);
        }
        Ok(crew)
    }

    fn send(&self, block: Block) -> io::Result<()> {
        let blocks = self.blocks.as_ref().expect("blocks are taken only by drop");
        blocks.send(block).map_err(|_| io::Error::other("all compressing threads ended early"))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.blocks = None;
        for worker in self.workers.drain(..) {
            // A panic has been told already, as an answer that did not come.
            let _ = worker.join();
        }
    }
}

fn work(level: GzipLevel, blocks: &Mutex<Receiver<Block>>) {
    loop {
        let next = match blocks.lock() {
            Ok(blocks) => blocks.recv(),
            Err(_) => return,
        };
        let Ok(block) = next else { return };
        let answer = block.answer.clone();
        // Nobody waits for the answer once the writer is gone.
        let _ = answer.send(deflate_block(level, block));
    }
}

fn deflate_block(level: GzipLevel, block: Block) -> io::Result<Deflated> {
    // A fresh state for each: after a reset, what zlib-rs 0.6 writes can depend on the block before, and with that on
    // which thread had which block.
    let mut deflate = Compress::new(flate2::Compression::new(u32::from(level.0)), false);
    if !block.dictionary.is_empty() {
        deflate.set_dictionary(&block.dictionary).map_err(io::Error::other)?;
    }
    let flush = if block.last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut bytes = Vec::with_capacity(block.data.len() / 2 + 1024);
    loop {
        let taken = deflate.total_in() as usize;
        let status = deflate.compress_vec(&block.data[taken..], &mut bytes, flush).map_err(io::Error::other)?;
        let all_taken = deflate.total_in() as usize == block.data.len();
        // Room to spare in the output means that the flush is complete.
        let complete = if block.last { status == Status::StreamEnd } else { bytes.len() < bytes.capacity() };
        if all_taken && complete {
            break;
        }
        bytes.reserve(block.data.len() / 4 + 1024);
    }
    let mut crc = Hasher::new();
    crc.update(&block.data);
    Ok(Deflated { bytes, crc, data: block.data })
}

#[cfg(test)]
mod tests;
