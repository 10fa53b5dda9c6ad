//! A backup's manifest: one line of JSON, and the xxh3 of that line in hex on the next.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

/// The format that this code writes and reads.
pub(super) const FORMAT: u32 = 1;

/// What belongs to a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// The version that it shows.
    pub(super) version: u64,
    /// The earlier backup that it leans on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<String>,
    /// Length of the checkpoint.
    pub(super) checkpoint_bytes: u64,
    /// Its xxh3.
    pub(super) checkpoint: u64,
    /// The parts.
    pub(super) parts: Vec<PartEntry>,
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartEntry {
    /// Its id in the database.
    pub(super) id: u64,
    /// Its length.
    pub(super) bytes: u64,
    /// The xxh3 of the whole file.
    pub(super) checksum: u64,
    /// The xxh3 of its footer, by which two databases' parts of one id are told apart.
    pub(super) footer: u64,
    /// The backup that has the file, when it is not this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<String>,
}

impl Manifest {
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_string(self).map_err(|e| Error::internal(format!("a manifest is not JSON: {e}")))?;
        Ok(format!("{json}\n{:016x}\n", xxh3_64(json.as_bytes())).into_bytes())
    }

    /// The error says what is wrong.
    pub(super) fn from_bytes(bytes: &[u8]) -> std::result::Result<Manifest, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_string())?;
        let (json, checksum) = text.split_once('\n').ok_or_else(|| "it is cut short".to_string())?;
        if checksum != format!("{:016x}\n", xxh3_64(json.as_bytes())) {
            return Err("its checksum does not match".to_string());
        }
        let manifest: Manifest = serde_json::from_str(json).map_err(|e| e.to_string())?;
        match manifest.format {
            FORMAT => Ok(manifest),
            other => Err(format!("it is of format {other}, and this program reads format {FORMAT}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_and_every_flipped_bit_is_found() {
        let part = PartEntry { id: 7, bytes: 100, checksum: u64::MAX, footer: 1, at: Some("s3://b/x".into()) };
        let manifest = Manifest {
            format: FORMAT,
            version: 42,
            base: Some("s3://b/x".into()),
            checkpoint_bytes: 10,
            checkpoint: 3,
            parts: vec![part],
        };
        let bytes = manifest.to_bytes().unwrap();
        assert_eq!(Manifest::from_bytes(&bytes), Ok(manifest));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                assert!(Manifest::from_bytes(&other).is_err(), "byte {at}, bit {bit}");
            }
            assert!(Manifest::from_bytes(&bytes[..at]).is_err());
        }
    }
}
