//! Frames: what one write and one fsync made durable (FORMAT.md, "Frame"). A file of frames is a log or a checkpoint.
//!
//! Reading tells a *torn* frame (the machine stopped while it was being written; never acknowledged) from a *damaged* one. A
//! torn frame is shorter than it says, or has more all-zero sectors than it was written with.

use std::path::Path;

use crate::bytes::{Reader, Write};
use crate::checksum;
use crate::error::{Error, Result};

/// Bytes before the first frame of a file.
pub(crate) const FILE_HEADER: usize = 24;
const FORMAT: u32 = 1;
const HEADER: usize = 48;
const MAGIC: u32 = u32::from_le_bytes(*b"WFRM");
const TRAILER: &[u8; 8] = b"WFRM-END";
const SECTOR: usize = 512;
/// A frame's payload is shorter than this.
pub(crate) const PAYLOAD_MAX: usize = 1 << 30;

/// What a file of frames is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Log,
    Checkpoint,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Kind::Log => b"WEIRLOG\n",
            Kind::Checkpoint => b"WEIRCKP\n",
        }
    }
}

pub(crate) fn file_header(kind: Kind, number: u32) -> Vec<u8> {
    let mut header = kind.magic().to_vec();
    header.put_u32(FORMAT);
    header.put_u32(number);
    let hash = checksum::of(&header);
    header.put_u64(hash);
    header
}

/// Appends a frame that will stand at `offset` of its file, of which `durable` bytes are known to be fsynced.
pub(crate) fn write_frame<'a>(
    out: &mut Vec<u8>,
    offset: u64,
    durable: u64,
    first: u64,
    records: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    let start = out.len();
    let count = records.len() as u32;
    out.resize(start + HEADER, 0);
    records.for_each(|record| out.put_bytes(record));
    let payload = start + HEADER..out.len();
    out.resize(start + (out.len() - start).next_multiple_of(8), 0);
    out.extend_from_slice(TRAILER);

    let mut header = Vec::with_capacity(HEADER);
    header.put_u32(MAGIC);
    header.put_u32(payload.len() as u32);
    header.put_u64(first);
    header.put_u64(durable);
    header.put_u32(count);
    // The header itself is still zero in `out`, so the sectors are counted behind it.
    let body = start + HEADER;
    let quiet = sectors(offset as usize + HEADER, &out[body..])
        .filter(|&(at, sector)| at > offset as usize + HEADER && is_zero(sector))
        .count();
    header.put_u32(quiet as u32);
    header.put_u64(checksum::of(&out[payload]));
    let hash = checksum::of(&header);
    header.put_u64(hash);
    out[start..body].copy_from_slice(&header);
}

/// The pieces of `bytes`, which stand at `offset` of a file, by the file's sectors.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = at;
        at = (from + SECTOR - (offset + from) % SECTOR).min(bytes.len());
        (from < bytes.len()).then(|| (offset + from, &bytes[from..at]))
    })
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// A frame that was read.
pub(crate) struct Frame<'a> {
    /// Where it stands.
    pub(crate) offset: u64,
    /// Version of the first record.
    pub(crate) first: u64,
    /// The records, and where each stands in the file.
    pub(crate) records: Vec<(u64, &'a [u8])>,
}

struct Header {
    length: usize,
    first: u64,
    durable: u64,
    count: u32,
    quiet: u32,
    hash: u64,
}

/// Reads the frames of one file.
pub(crate) struct Frames<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
    /// Whether the file may end in a torn frame.
    forgiving: bool,
}

impl<'a> Frames<'a> {
    /// Opens a file's bytes. `None` when the file is forgiving and was torn before its header was complete.
    pub(crate) fn open(
        path: &'a Path,
        bytes: &'a [u8],
        kind: Kind,
        number: u32,
        forgiving: bool,
    ) -> Result<Option<Frames<'a>>> {
        let header = file_header(kind, number);
        if bytes.get(..FILE_HEADER) == Some(&header) {
            return Ok(Some(Frames { path, bytes, at: FILE_HEADER, forgiving }));
        }
        if forgiving && (bytes.len() < FILE_HEADER || is_zero(bytes)) {
            return Ok(None);
        }
        let different = header.iter().zip(bytes).position(|(a, b)| a != b).unwrap_or(bytes.len());
        Err(Error::corrupt(path, different as u64, "the file header is not one of this format"))
    }

    /// How much of the file holds whole frames, once all have been read.
    pub(crate) fn valid_len(&self) -> u64 {
        self.at as u64
    }

    /// The next frame; `None` at the end, or at a torn frame that is forgiven.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'a>>> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let start = self.at;
        let rest = &self.bytes[start..];
        let (torn, detail) = match header_at(rest) {
            None if rest.len() < HEADER => (true, "the file ends inside a frame's header"),
            None => (sectors(start, &rest[..HEADER]).any(|(_, sector)| is_zero(sector)), "a frame's header"),
            Some(header) => {
                let total = (HEADER + header.length).next_multiple_of(8) + TRAILER.len();
                match rest.get(..total) {
                    None => (true, "the file ends inside a frame"),
                    Some(frame) => match self.parse(start, frame, &header) {
                        Some(parsed) => {
                            self.at += total;
                            return Ok(Some(parsed));
                        }
                        None => {
                            let zero = sectors(start, frame).filter(|(_, sector)| is_zero(sector)).count();
                            (zero > header.quiet as usize, "a frame's checksum does not match")
                        }
                    },
                }
            }
        };
        if torn && self.forgiving && !self.was_durable(start) {
            return Ok(None);
        }
        Err(Error::corrupt(self.path, start as u64, detail))
    }

    fn parse(&self, start: usize, frame: &'a [u8], header: &Header) -> Option<Frame<'a>> {
        let end = HEADER + header.length;
        let (payload, rest) = (&frame[HEADER..end], &frame[end..]);
        let (padding, trailer) = rest.split_at(rest.len() - TRAILER.len());
        if !checksum::matches(payload, header.hash) || !is_zero(padding) || trailer != TRAILER {
            return None;
        }
        let mut reader = Reader::new(payload);
        let mut records = Vec::new();
        for _ in 0..header.count {
            let record = reader.bytes().ok()?;
            records.push(((start + HEADER + reader.position() - record.len()) as u64, record));
        }
        reader.end().ok()?;
        Some(Frame { offset: start as u64, first: header.first, records })
    }

    /// Whether a later frame says that the file was fsynced past `start`.
    fn was_durable(&self, start: usize) -> bool {
        let later = (start + 8).next_multiple_of(8)..self.bytes.len();
        later.step_by(8).any(|at| header_at(&self.bytes[at..]).is_some_and(|header| header.durable > start as u64))
    }
}

fn header_at(bytes: &[u8]) -> Option<Header> {
    let bytes = bytes.get(..HEADER)?;
    let mut reader = Reader::new(bytes);
    if reader.u32().ok()? != MAGIC || !checksum::matches(&bytes[..40], Reader::new(&bytes[40..]).u64().ok()?) {
        return None;
    }
    Some(Header {
        length: reader.u32().ok()? as usize,
        first: reader.u64().ok()?,
        durable: reader.u64().ok()?,
        count: reader.u32().ok()?,
        quiet: reader.u32().ok()?,
        hash: reader.u64().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of three frames, the second with a long run of zeros, and where they begin.
    fn log() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = file_header(Kind::Log, 3);
        let mut starts = Vec::new();
        let records: [&[&[u8]]; 3] = [&[b"one", b""], &[&[0; 2000], b"x"], &[&[7; 700]]];
        let mut durable = FILE_HEADER as u64;
        for (at, records) in records.iter().enumerate() {
            let offset = bytes.len() as u64;
            starts.push(bytes.len());
            write_frame(&mut bytes, offset, durable, 10 + at as u64, records.iter().copied());
            durable = bytes.len() as u64;
        }
        (bytes, starts)
    }

    fn read(bytes: &[u8], forgiving: bool) -> Result<Vec<u64>> {
        let path = Path::new("log");
        let Some(mut frames) = Frames::open(path, bytes, Kind::Log, 3, forgiving)? else { return Ok(Vec::new()) };
        let mut versions = Vec::new();
        while let Some(frame) = frames.next()? {
            versions.push(frame.first);
        }
        Ok(versions)
    }

    #[test]
    fn every_flipped_bit_is_damage_even_in_the_last_frame() {
        let (bytes, _) = log();
        assert_eq!(read(&bytes, true).unwrap(), [10, 11, 12]);
        for at in 0..bytes.len() {
            for bit in [0, 7] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(matches!(read(&flipped, true), Err(Error::Corrupt { .. })), "byte {at}");
            }
        }
    }

    #[test]
    fn a_torn_tail_is_forgiven_only_where_it_may_be() {
        let (bytes, starts) = log();
        for length in 0..bytes.len() {
            let whole = starts[1..].iter().chain([&bytes.len()]).filter(|&&end| end <= length).count();
            assert_eq!(read(&bytes[..length], true).unwrap().len(), whole, "cut at {length}");
            let boundary = length == bytes.len() || (length >= FILE_HEADER && starts.contains(&length));
            assert_eq!(read(&bytes[..length], false).is_ok(), boundary, "cut at {length}");
        }
        // Sectors of the last frame that never reached the disk.
        let mut torn = bytes.clone();
        let sector = (starts[2] + 100).next_multiple_of(SECTOR);
        torn[sector..].fill(0);
        assert_eq!(read(&torn, true).unwrap(), [10, 11]);
        torn[starts[2]..].fill(0);
        assert_eq!(read(&torn, true).unwrap(), [10, 11]);
        // The same in a frame that a later one knows to have been durable.
        let mut rotten = bytes;
        rotten[starts[1]..starts[2]].fill(0);
        assert!(matches!(read(&rotten, true), Err(Error::Corrupt { offset, .. }) if offset == starts[1] as u64));
    }
}
