//! LZ4 and zstd over a chunk's body, where that pays. Whether it does is tried on the first kilobytes, and a column for which it did
//! not pay is asked again only after a growing number of chunks.

use std::cell::RefCell;
use std::io::{self, Read};

use arrow::buffer::Buffer;
use zstd::bulk::Decompressor;

use super::{Effort, nested};
use crate::bytes::{Reader, Write};
use crate::codec::Compression;
use crate::error::{Decoded, damaged};

/// Body as is.
pub(super) const NONE: u8 = 0;
/// Body is a varint raw length and an LZ4 block.
pub(super) const LZ4: u8 = 1;
/// Body is a varint raw length and a zstd frame.
pub(super) const ZSTD: u8 = 2;

/// A varint takes at most so many bytes.
const VARINT_MAX: usize = 10;
/// Bodies shorter than this are left alone.
const BODY_MIN: usize = 256;
/// How much of a body is tried.
const SAMPLE: usize = 4096;

/// What a column remembers about compressing its chunks.
#[derive(Debug, Default)]
pub(super) struct Memory {
    skip: u32,
    backoff: u32,
    /// What the next chunk is known to be worth.
    expected: Option<Method>,
}

impl Memory {
    /// Says that a method was found to pay for the chunk that comes next.
    pub(super) fn expect(&mut self, method: Method) {
        self.expected = Some(method);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Lz4,
    /// At a level.
    Zstd(i32),
}

impl Method {
    /// At the level that pays for nearly all data.
    pub(super) const ZSTD: Method = Method::Zstd(1);

    fn code(self) -> u8 {
        match self {
            Method::Lz4 => LZ4,
            Method::Zstd(_) => ZSTD,
        }
    }

    fn compress(self, body: &[u8]) -> Vec<u8> {
        match self {
            Method::Lz4 => lz4_flex::block::compress(body),
            Method::Zstd(level) => zstd::bulk::compress(body, level).unwrap_or_else(|_| body.to_vec()),
        }
    }

    /// What it makes of a body.
    pub(super) fn len(self, body: &[u8]) -> usize {
        self.compress(body).len()
    }
}

/// Replaces `out[from..]`, a body, by its compressed form if that is worth it; says what was done.
pub(super) fn compress(out: &mut Vec<u8>, from: usize, effort: Effort, wanted: Compression, memory: &mut Memory) -> u8 {
    let body = &out[from..];
    if matches!(effort, Effort::Log | Effort::Inner) || body.len() < BODY_MIN {
        return NONE;
    }
    let method = match wanted {
        Compression::Auto => return by_data(out, from, effort, memory),
        Compression::Off => return NONE,
        Compression::Lz4 => Method::Lz4,
        Compression::Zstd(level) => Method::Zstd(level.into()),
    };
    if_smaller(out, from, method).unwrap_or(NONE)
}

/// Replaces a body if a method makes it smaller at all.
fn if_smaller(out: &mut Vec<u8>, from: usize, method: Method) -> Option<u8> {
    let compressed = method.compress(&out[from..]);
    (compressed.len() < out.len() - from).then(|| replace(out, from, &compressed, method))
}

fn by_data(out: &mut Vec<u8>, from: usize, effort: Effort, memory: &mut Memory) -> u8 {
    if let Some(method) = memory.expected.take()
        && let Some(code) = if_smaller(out, from, method)
    {
        return code;
    }
    let body = &out[from..];
    if memory.skip > 0 {
        memory.skip -= 1;
        return NONE;
    }
    let pays = |raw: usize, packed: usize| packed * 10 <= raw * 8;
    let sample = &body[..body.len().min(SAMPLE)];
    if pays(sample.len(), Method::Lz4.len(sample)) {
        let (method, compressed) = choose(body, effort);
        if pays(body.len(), compressed.len()) {
            memory.backoff = 0;
            return replace(out, from, &compressed, method);
        }
    }
    memory.backoff = (memory.backoff * 2 + 1).min(255);
    memory.skip = memory.backoff;
    NONE
}

fn replace(out: &mut Vec<u8>, from: usize, compressed: &[u8], method: Method) -> u8 {
    let raw = (out.len() - from) as u64;
    out.truncate(from);
    out.put_varint(raw);
    out.extend_from_slice(compressed);
    method.code()
}

fn choose(body: &[u8], effort: Effort) -> (Method, Vec<u8>) {
    let lz4 = Method::Lz4.compress(body);
    if effort == Effort::Dense {
        let zstd = Method::ZSTD.compress(body);
        if zstd.len() * 4 <= lz4.len() * 3 {
            return (Method::ZSTD, zstd);
        }
    }
    (Method::Lz4, lz4)
}

/// The raw body.
pub(super) fn decompress(body: Buffer, method: u8) -> Decoded<Buffer> {
    if method == NONE {
        return Ok(body);
    }
    let (raw, compressed) = open(&body, method)?;
    let decompressed = match method {
        LZ4 => lz4_flex::block::decompress(compressed, raw).map_err(|error| error.to_string()),
        ZSTD => unzstd(compressed, raw).map_err(|error| error.to_string()),
        other => Err(format!("there is no compression {other}")),
    };
    match decompressed {
        Ok(bytes) if bytes.len() == raw => Ok(Buffer::from(bytes)),
        Ok(bytes) => damaged(format!("{} bytes instead of {raw} after decompression", bytes.len())),
        Err(error) => damaged(error),
    }
}

/// What a zstd frame of at most `raw` bytes holds.
fn unzstd(compressed: &[u8], raw: usize) -> io::Result<Vec<u8>> {
    thread_local! {
        // Making one takes longer than a small chunk does.
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(compressed, raw)
    })
}

/// The nested chunk that the raw body begins with, and how many bytes come after it; of zstd, without decompressing those.
pub(super) fn first_nested(body: Buffer, method: u8) -> Decoded<(Buffer, usize)> {
    if method == ZSTD
        && let Some(first) = first_of_zstd(&body)
    {
        return Ok(first);
    }
    let raw = decompress(body, method)?;
    let mut reader = Reader::new(&raw);
    let first = nested(&mut reader, &raw)?;
    Ok((first, reader.left()))
}

/// `None` where the whole body has to say what is wrong with it.
fn first_of_zstd(body: &Buffer) -> Option<(Buffer, usize)> {
    let (raw, compressed) = open(body, ZSTD).ok()?;
    let mut stream = zstd::stream::read::Decoder::with_buffer(compressed).ok()?;
    // No window is larger than what it is of, so a damaged one cannot make us allocate the world.
    stream.window_log_max(raw.max(1024).ilog2() + 1).ok()?;
    let mut start = Vec::new();
    (&mut stream).take(VARINT_MAX as u64).read_to_end(&mut start).ok()?;
    let mut reader = Reader::new(&start);
    let length = reader.varint().ok()?;
    let from = reader.position();
    let end = from + usize::try_from(length).ok().filter(|&length| length <= raw)?;
    stream.take(end.saturating_sub(start.len()) as u64).read_to_end(&mut start).ok()?;
    let after = raw.checked_sub(end).filter(|_| end <= start.len())?;
    Some((Buffer::from(start).slice_with_length(from, end - from), after))
}

/// How many bytes a compressed body has raw, and its block or frame.
fn open(body: &Buffer, method: u8) -> Decoded<(usize, &[u8])> {
    let mut reader = Reader::new(body);
    let raw = reader.varint()?;
    let compressed = reader.take(reader.left())?;
    // No block can grow more than this, so a damaged length cannot make us allocate the world.
    let ratio = if method == LZ4 { 256 } else { 1 << 16 };
    if raw > (compressed.len() as u64 + 16) * ratio || raw > 1 << 31 {
        return damaged(format!("{} bytes cannot have been {raw} bytes", compressed.len()));
    }
    Ok((raw as usize, compressed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zstd_gives_the_first_chunk_alone() {
        for (first, after) in [(0, 0), (3, 0), (300, 20), (70_000, 3_000_000)] {
            let chunk: Vec<u8> = (0..first).map(|i| (i % 251) as u8).collect();
            let mut out = Vec::new();
            out.put_bytes(&chunk);
            out.extend((0..after).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 28) as u8));
            let raw = Buffer::from(out.clone());
            let compressed = Method::ZSTD.compress(&raw);
            replace(&mut out, 0, &compressed, Method::ZSTD);
            let expected = (Buffer::from(chunk), after as usize);
            assert_eq!(first_of_zstd(&out.clone().into()), Some(expected.clone()), "{first} of {}", raw.len());
            for (body, method) in [(raw, NONE), (out.into(), ZSTD)] {
                assert_eq!(first_nested(body, method).unwrap(), expected);
            }
        }
    }
}
